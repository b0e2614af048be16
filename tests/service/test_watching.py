"""One request is one trace, through worker, queue and job's process; every process writes the same kind of line."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from quadra_matrix.client import request
from quadra_matrix.service.settings import LogLevel, Settings
from quadra_matrix.telemetry.span import Span
from quadra_matrix.telemetry.traces import TraceStore
from tests.service.test_main_job import FOLLOWED_WITHIN, QUADRA, Service, served
from tests.services.process import free_port, wait_until

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "order 7"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("watched")
    return Settings(data_dir=folder / "data", port=free_port(), hub_port=free_port(), grace_seconds=10, workers=2)


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Service]:
    with served(settings) as running:
        yield running


def spans_of(settings: Settings, trace: str) -> dict[str, Span]:
    """Return the spans that are kept of a trace, by name."""
    return {span.name: span for span in TraceStore(settings.traces_file).trace(trace)}


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Return every line as the JSON object that it is; remarks of the command are for people."""
    return [json.loads(line) for line in log.read_text().splitlines() if not line.startswith("Quadra Matrix answers")]


def test_a_training_is_in_the_trace_of_its_request(service: Service, settings: Settings) -> None:
    body = {"model": "iris", "data": {"source": "builtin", "name": "iris"}}

    job = request(f"{service.url}/api/train", method="POST", body=body, headers=HEADERS)["id"]
    service.follow(job)
    wait_until(lambda: {"job train", "POST /api/train"} <= set(spans_of(settings, TRACE)), "the trace", FOLLOWED_WITHIN)
    shown = service.ask(f"/api/traces/{TRACE}")
    drawn = subprocess.run([QUADRA, "traces", "show", TRACE, "--url", service.url], capture_output=True, text=True)
    listed = service.ask("/api/traces")["traces"]

    spans = spans_of(settings, TRACE)
    server, work = spans["POST /api/train"], spans["job train"]
    assert (server.kind, server.parent_id) == ("server", CALLER)
    assert server.attributes["http.response.status_code"] == 202
    assert work.parent_id == server.span_id
    assert (work.attributes["quadra.job.id"], work.error) == (job, None)
    phases = [span for span in spans.values() if span.parent_id == work.span_id]
    assert len(phases) >= 3
    assert all(work.start <= phase.start <= phase.end <= work.end for phase in phases)
    assert "model_published" in {event.name for phase in phases for event in phase.events}
    # One span for each name here; the queries of the request share theirs.
    assert {span["span_id"] for span in shown["spans"]} >= {span.span_id for span in spans.values()}
    assert [trace["name"] for trace in listed if trace["trace_id"] == TRACE] == ["POST /api/train"]
    assert drawn.returncode == 0, drawn.stderr
    assert {"POST", "job", phases[0].name} <= {line.split()[0] for line in drawn.stdout.splitlines()}
    assert {line["trace_id"] for line in lines_of(settings.logs_dir / "jobs" / f"{job}.log")} == {TRACE}
    metrics = service.text("/metrics")
    assert 'quadra_models_published_total{engine="onnx",model="iris"} 1.0' in metrics
    assert re.search(r'quadra_spans_total\{outcome="sent"\} [1-9]', metrics)


def test_a_websocket_is_in_the_trace_of_its_handshake(service: Service, settings: Settings) -> None:
    trace = "a" * 32

    with connect(
        f"ws://127.0.0.1:{settings.hub_port}/ws", additional_headers={"traceparent": f"00-{trace}-{CALLER}-01"}
    ):
        pass

    wait_until(lambda: "WEBSOCKET /ws" in spans_of(settings, trace), "the span of the connection", FOLLOWED_WITHIN)
    assert spans_of(settings, trace)["WEBSOCKET /ws"].parent_id == CALLER


def test_what_is_finished_at_a_stop_is_kept_and_every_line_is_json(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", port=free_port(), hub_port=free_port(), grace_seconds=10, log_level=LogLevel.DEBUG
    )

    with served(settings) as service:
        for number in range(20):
            trace = f"{number + 1:032x}"
            request(f"{service.url}/api/models", headers={"traceparent": f"00-{trace}-{CALLER}-01"})
        with connect(f"ws://127.0.0.1:{settings.hub_port}/ws"):
            service.process.terminate()
            service.process.wait(30)

    kept = [trace.name for trace in TraceStore(settings.traces_file).traces()]
    assert sorted(kept) == ["GET /api/models"] * 20 + ["WEBSOCKET /ws"]
    lines = lines_of(settings.data_dir.with_suffix(".log"))
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert {line["logger"] for line in lines} >= {"quadra_matrix.storage.migrations.runner", "_granian"}


def test_probes_and_scrapes_make_no_traces(service: Service, settings: Settings) -> None:
    before = len(TraceStore(settings.traces_file).traces(limit=1000))

    for path in ("/health/live", "/api/traces"):
        service.ask(path)
    service.text("/metrics")

    assert len(TraceStore(settings.traces_file).traces(limit=1000)) == before
