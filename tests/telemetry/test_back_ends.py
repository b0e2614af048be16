"""Real Zipkin, Jaeger and Prometheus servers take what is sent, and show it when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from quadra_matrix import __version__
from quadra_matrix.client import request
from quadra_matrix.errors import ServiceError, ServiceUnreachable
from quadra_matrix.service.app import create_app
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.telemetry.flask import setup_distributed_tracing
from tests.api.serving import served
from tests.services.process import free_port, needs, running, wait_until
from tests.services.tracing import Jaeger, Zipkin, jaeger_server, zipkin_server

pytestmark = pytest.mark.slow

SOON = 10.0


@pytest.fixture(scope="module")
def zipkin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zipkin]:
    with zipkin_server(tmp_path_factory.mktemp("zipkin")) as server:
        yield server


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with jaeger_server(tmp_path_factory.mktemp("jaeger")) as server:
        yield server


def traced_request(exporter: str, environ: Mapping[str, str]) -> str:
    """Answer a request whose view has a child span that fails; return the trace's id once it was delivered."""
    app = Flask("shop")
    tracing = setup_distributed_tracing(app, exporter, service_name="shop", environ=environ)
    seen: list[str] = []

    @app.get("/orders/<int:order>")
    def show(order: int) -> str:
        seen.append(tracing.current_trace_id() or "")
        with tracing.create_span("query", {"db.system.name": "sqlite", "rows": 3}):
            raise KeyError(order)

    assert app.test_client().get("/orders/7?token=hunter2", buffered=True).status_code == 500
    assert tracing.close(SOON)
    return seen[0]


def test_zipkin_shows_parent_child_and_exception(zipkin: Zipkin) -> None:
    trace_id = traced_request("zipkin", {"ZIPKIN_URL": f"{zipkin.url}/api/v2/spans"})

    wait_until(lambda: len(zipkin.trace(trace_id)) == 2, "zipkin to show the trace")

    spans = {span["name"]: span for span in zipkin.trace(trace_id)}
    parent, child = spans["get /orders/<int:order>"], spans["query"]
    assert child["parentId"] == parent["id"]
    assert (parent["kind"], parent["localEndpoint"]["serviceName"]) == ("SERVER", "shop")
    assert parent["tags"]["http.response.status_code"] == "500"
    assert parent["tags"]["url.query"] == "token=***"
    assert child["tags"]["rows"] == "3"
    assert child["tags"]["exception.type"] == "KeyError"
    assert child["tags"]["error"] == "KeyError: 7"
    assert "exception" in [annotation["value"] for annotation in child["annotations"]]
    assert parent["timestamp"] <= child["timestamp"]


@pytest.mark.parametrize("exporter", ["jaeger", "otlp", "otlp over grpc", "jaeger over grpc"])
def test_jaeger_shows_parent_child_and_exception(jaeger: Jaeger, exporter: str) -> None:
    name, _, is_grpc = exporter.partition(" over ")
    port = jaeger.grpc_port if is_grpc else jaeger.http_port
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if is_grpc else "http/protobuf"}
    if name == "jaeger":
        environ |= {"JAEGER_HOST": "127.0.0.1", "JAEGER_PORT": str(port)}
    else:
        environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    trace_id = traced_request(name, environ)

    wait_until(lambda: len(jaeger.trace(trace_id)) == 2, "jaeger to show the trace")

    spans = {span["operationName"]: span for span in jaeger.trace(trace_id)}
    parent, child = spans["GET /orders/<int:order>"], spans["query"]
    (reference,) = child["references"]
    assert (reference["refType"], reference["spanID"]) == ("CHILD_OF", parent["spanID"])
    assert parent["process"]["serviceName"] == "shop"
    assert tags(parent) >= {"span.kind": "server", "http.response.status_code": 500}.items()
    assert tags(child) >= {"rows": 3, "error": True, "otel.status_description": "KeyError: 7"}.items()
    (event,) = child["logs"]
    assert {field["key"]: field["value"] for field in event["fields"]}["exception.type"] == "KeyError"


def tags(span: dict[str, Any]) -> Any:
    return {tag["key"]: tag["value"] for tag in span["tags"]}.items()


PROMETHEUS = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: quadra
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    with served(create_app(settings)) as url:
        yield url


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Yield what asks a Prometheus that scrapes ``target``: it takes PromQL and returns the samples of now."""
    program = needs("prometheus", "apt-get install prometheus")
    configuration = folder / "prometheus.yml"
    configuration.write_text(PROMETHEUS.format(target=target.removeprefix("http://")))
    url = f"http://127.0.0.1:{free_port()}"

    def ask(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = request(f"{url}/api/v1/query?query={quote(query)}")["data"]["result"]
        return found

    def is_ready() -> bool:
        try:
            ask("up")
        except (ServiceError, ServiceUnreachable):
            return False
        return True

    flags = [f"--web.listen-address={url.removeprefix('http://')}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command = [program, f"--config.file={configuration}", *flags]
    with running(command, log=folder / "prometheus.log", ready=is_ready):
        yield ask


def test_prometheus_scrapes_the_service_and_answers_a_query(tmp_path: Path, service: str) -> None:
    for _ in range(5):
        assert request(f"{service}/health/live") == {"status": "ok"}
    counted = 'sum(quadra_http_requests_total{route="/health/live",status="200"})'
    slowest = (
        "histogram_quantile(0.99, sum by (le) (quadra_http_request_duration_seconds_bucket{route='/health/live'}))"
    )

    with prometheus(tmp_path, service) as ask:
        wait_until(lambda: ask(counted) != [], "prometheus to have scraped")
        (requests,), (seconds,), (up,) = ask(counted), ask(slowest), ask("up")
        (build,) = ask("quadra_build_info")

    assert up["value"][1] == "1"
    assert requests["value"][1] == "5"
    assert 0 < float(seconds["value"][1]) <= 10
    assert build["metric"]["version"] == __version__
