"""The compose files start receivers where the exporters send to, in the versions that the tests run."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from quadra_matrix.telemetry.environment import Exporter, Protocol, tracing_options
from tests.services.fetch import JAEGER_PROGRAM_VERSION, ZIPKIN_VERSION

ROOT = Path(__file__).parents[2]
BACK_ENDS = {
    "jaeger": (Exporter.JAEGER, f"jaegertracing/jaeger:{JAEGER_PROGRAM_VERSION}"),
    "zipkin": (Exporter.ZIPKIN, f"openzipkin/zipkin-slim:{ZIPKIN_VERSION}"),
}


def compose(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / f"docker-compose-{name}.yml").read_text())
    return read


def published(name: str) -> dict[int, int]:
    """Return the ports of the machine and those of the container that they lead to."""
    (service,) = compose(name)["services"].values()
    ports = [port.split(":") for port in service["ports"]]
    assert {address for address, _, _ in ports} == {"127.0.0.1"}
    return {int(outside): int(inside) for _, outside, inside in ports}


@pytest.mark.parametrize("name", BACK_ENDS)
def test_the_version_is_the_one_that_is_tested(name: str) -> None:
    (service,) = compose(name)["services"].values()

    assert service["image"] == BACK_ENDS[name][1]


@pytest.mark.parametrize("name", BACK_ENDS)
def test_a_service_with_its_variables_sends_there(name: str) -> None:
    options = tracing_options(compose(name)["x-service-environment"])

    assert options.exporter is BACK_ENDS[name][0]
    assert urlsplit(options.endpoint).port in published(name)


@pytest.mark.parametrize("name", BACK_ENDS)
def test_a_service_without_other_variables_sends_there(name: str) -> None:
    given = compose(name)["x-service-environment"]

    assert tracing_options({"TRACING_EXPORTER": name}).endpoint == tracing_options(given).endpoint


@pytest.mark.parametrize("protocol", [Protocol.OTLP_GRPC, Protocol.OTLP_HTTP])
@pytest.mark.parametrize("exporter", ["otlp", "jaeger"])
def test_jaeger_listens_for_both_kinds_of_otlp(exporter: str, protocol: Protocol) -> None:
    options = tracing_options({"TRACING_EXPORTER": exporter, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})

    assert published("jaeger")[urlsplit(options.endpoint).port or 0] == {
        Protocol.OTLP_GRPC: 4317,
        Protocol.OTLP_HTTP: 4318,
    }.get(protocol)


def test_the_promised_pages_are_published() -> None:
    assert 16686 in published("jaeger")
    assert 9411 in published("zipkin")
