"""The promised variables work, and the standard ones win."""

from __future__ import annotations

import logging

import pytest

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.environment import Exporter, Protocol, tracing_options

HTTP, GRPC, ZIPKIN = Protocol.OTLP_HTTP, Protocol.OTLP_GRPC, Protocol.ZIPKIN_JSON


@pytest.mark.parametrize(
    ("environ", "protocol", "endpoint"),
    [
        ({}, HTTP, "http://localhost:4318/v1/traces"),
        ({"TRACING_EXPORTER": "jaeger"}, HTTP, "http://localhost:4318/v1/traces"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "jaeger"}, HTTP, "http://jaeger:4318/v1/traces"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "6831"}, HTTP, "http://localhost:4318/v1/traces"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "4319"}, HTTP, "http://localhost:4319/v1/traces"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "4317"}, GRPC, "http://localhost:4317"),
        ({"TRACING_EXPORTER": "zipkin"}, ZIPKIN, "http://localhost:9411/api/v2/spans"),
        ({"TRACING_EXPORTER": "zipkin", "ZIPKIN_URL": "http://z/api/v2/spans"}, ZIPKIN, "http://z/api/v2/spans"),
        ({"TRACING_EXPORTER": "zipkin", "ZIPKIN_URL": "http://z:9411/v1/traces"}, HTTP, "http://z:9411/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, HTTP, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/in"}, HTTP, "http://c/in"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, GRPC, "http://localhost:4317"),
        (
            {"TRACING_EXPORTER": "jaeger", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            GRPC,
            "http://localhost:4317",
        ),
        ({"TRACING_EXPORTER": "jaeger", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, HTTP, "http://c:1/v1/traces"),
    ],
)
def test_where_spans_go(environ: dict[str, str], protocol: Protocol, endpoint: str) -> None:
    options = tracing_options(environ)

    assert (options.protocol, options.endpoint) == (protocol, endpoint)


def test_the_standard_variables_win() -> None:
    options = tracing_options(
        {
            "TRACING_EXPORTER": "jaeger",
            "OTEL_TRACES_EXPORTER": "zipkin",
            "SERVICE_NAME": "ours",
            "OTEL_SERVICE_NAME": "theirs",
            "SERVICE_VERSION": "3",
            "ENVIRONMENT": "production",
            "ZIPKIN_URL": "http://ours/api/v2/spans",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://theirs/api/v2/spans",
            "OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=a%20b,bad",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        }
    )

    assert options.exporter is Exporter.ZIPKIN
    assert (options.service_name, options.service_version, options.environment) == ("theirs", "3", "production")
    assert options.endpoint == "http://theirs/api/v2/spans"
    assert options.headers == {"api-key": "a b"}
    assert (options.queue_limit, options.batch, options.timeout) == (100, 100, 2.5)


def test_arguments_go_before_every_variable() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_SERVICE_NAME": "other", "OTEL_TRACES_SAMPLER": "always_off"}

    options = tracing_options(
        environ, exporter_type="jaeger", service_name="shop", sample_ratio=0.5, endpoint="http://c:9/v1/traces"
    )

    assert (options.exporter, options.service_name, options.sample_ratio) == (Exporter.JAEGER, "shop", 0.5)
    assert options.endpoint == "http://c:9/v1/traces"


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio", "follows"),
    [
        ("always_on", "", 1.0, False),
        ("always_off", "", 0.0, False),
        ("traceidratio", "0.25", 0.25, False),
        ("parentbased_always_on", "", 1.0, True),
        ("parentbased_traceidratio", "0.01", 0.01, True),
    ],
)
def test_samplers(sampler: str, argument: str, ratio: float, follows: bool) -> None:
    options = tracing_options({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})

    assert (options.sample_ratio, options.follows_caller) == (ratio, follows)


def test_the_sdk_can_be_switched_off() -> None:
    assert tracing_options({"OTEL_SDK_DISABLED": "true"}, exporter_type="jaeger").exporter is Exporter.NONE


def test_the_old_jaeger_port_is_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    tracing_options({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "6831"})

    assert [record.getMessage() for record in caplog.records] == [
        "JAEGER_PORT=6831 is of a protocol that Jaeger has given up; spans go to its OTLP port 4318"
    ]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"TRACING_EXPORTER": "zipkn"}, "TRACING_EXPORTER is 'zipkn'; it must be one of otlp, jaeger, zipkin, console"),
        ({"OTEL_TRACES_EXPORTER": "logging"}, "OTEL_TRACES_EXPORTER"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "http"}, "JAEGER_PORT"),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "70000"}, "JAEGER_PORT"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_SAMPLER_ARG": "half"}, "OTEL_TRACES_SAMPLER_ARG"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "sample_ratio"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "endpoint"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "queue_limit"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "0"}, "delay"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(environ: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        tracing_options(environ)
