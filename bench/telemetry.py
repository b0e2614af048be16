"""What tracing and counting cost a Flask request, beside OpenTelemetry's Flask instrumentation with its usual exporter.

Run: ``python bench/telemetry.py`` (``--rounds 9``; ``--write`` keeps the JSON and the table in docs). Costs are
processor time of one process, over a bare route in the same round, medians of interleaved rounds. Both encode OTLP and
send it over loopback HTTP to a receiver in another process. The peers live in an environment that the script
makes once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = (
    "flask==3.1.3",
    "opentelemetry-exporter-otlp-proto-http==1.45.1",
    "opentelemetry-instrumentation-flask==0.66b1",
    "opentelemetry-sdk==1.45.1",
    "prometheus-client==0.26.0",
    "prometheus-flask-exporter==0.23.2",
    "pydantic>=2.12",
)
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-telemetry" / "bin" / "python"
PAGE = ROOT / "docs" / "explanation" / "tracing.md"
RESULTS = ROOT / "bench" / "results" / "telemetry.json"
OURS, PEER = "Quadra Matrix", "OpenTelemetry Flask + prometheus-flask-exporter"
GOALS = {"1 % sampled": 0.15, "unsampled caller": 0.08, "100 % sampled": 0.45}
"""Largest part of the peers' added cost that we allow ourselves."""
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/items/7",
    "QUERY_STRING": "page=2",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "5000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "50000",
    "HTTP_HOST": "127.0.0.1:5000",
    "HTTP_USER_AGENT": "bench/1",
    "HTTP_ACCEPT": "*/*",
    "wsgi.url_scheme": "http",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


@dataclass(frozen=True)
class Candidate:
    """An application under measurement."""

    serve: Callable[..., Any]
    flush: Callable[[], object]


def application() -> Any:
    from flask import Flask

    app = Flask("bench")

    @app.get("/items/<int:item>")
    def show(item: int) -> dict[str, int]:
        return {"item": item}

    return app


def bare(url: str, ratio: float) -> Candidate:
    return Candidate(application().wsgi_app, lambda: None)


def ours(url: str, ratio: float) -> Candidate:
    from quadra_matrix.telemetry.flask import setup_distributed_tracing
    from quadra_matrix.telemetry.series import Metrics

    app = application()
    metrics = Metrics(Path(tempfile.mkdtemp()))
    endpoint = f"{url}/v1/traces"
    tracing = setup_distributed_tracing(app, "otlp", endpoint=endpoint, sample_ratio=ratio, counts=metrics, environ={})
    return Candidate(app.wsgi_app, lambda: tracing.flush(10))


def peers(url: str, ratio: float) -> Candidate:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    from prometheus_client import CollectorRegistry
    from prometheus_flask_exporter import PrometheusMetrics

    app = application()
    PrometheusMetrics(app, registry=CollectorRegistry(), group_by="url_rule")
    provider = TracerProvider(ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    return Candidate(app.wsgi_app, provider.force_flush)


CANDIDATES = {"bare": bare, OURS: ours, PEER: peers}
CASES: dict[str, tuple[float, dict[str, str]]] = {
    "1 % sampled": (0.01, {}),
    "unsampled caller": (1.0, {"HTTP_TRACEPARENT": CALLER}),
    "100 % sampled": (1.0, {}),
}


def seconds_of(candidate: Candidate, headers: dict[str, str], times: int) -> float:
    """Return the processor seconds of so many requests and of sending what they recorded."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        return None

    began = time.process_time()
    for number in range(times):
        body = candidate.serve({**ENVIRON, **headers}, start_response)
        for _ in body:
            continue
        body.close()
        if number % 400 == 399:
            candidate.flush()  # so that no queue is ever full: what is dropped costs nothing
    candidate.flush()
    return time.process_time() - began


def measure(rounds: int, times: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with receiver() as url:
        for case, (ratio, headers) in CASES.items():
            made = {name: make(url, ratio) for name, make in CANDIDATES.items()}
            for candidate in made.values():
                seconds_of(candidate, headers, times // 2)
            seen: dict[str, list[float]] = {name: [] for name in made}
            for _ in range(rounds):
                for name, candidate in made.items():
                    seen[name].append(seconds_of(candidate, headers, times) / times * 1e6)
            found[case] = {
                "bare_us": round(statistics.median(seen["bare"]), 1),
                **{
                    name: round(statistics.median(a - b for a, b in zip(seen[name], seen["bare"], strict=True)), 1)
                    for name in (OURS, PEER)
                },
            }
            found[case]["ratio"] = round(found[case][OURS] / found[case][PEER], 3)
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", **found}


@contextmanager
def receiver() -> Iterator[str]:
    """Yield the address of a receiver in another process."""
    with subprocess.Popen([sys.executable, __file__, "--receive"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def receive() -> None:
    """Take every POST and forget it, until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    print(server.server_port, flush=True)


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| added to a request, microseconds | {OURS} | {PEER} | part | goal |", "|---|---|---|---|---|"]
    for case, goal in GOALS.items():
        row = found[case]
        lines.append(f"| {case} | {row[OURS]:.0f} | {row[PEER]:.0f} | {row['ratio']:.2f} | {goal:.2f} |")
    return "\n".join([*lines, "", f"A bare request costs {found['100 % sampled']['bare_us']:.0f}; {found['machine']}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=1200)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.receive:
        return receive()
    if not chosen.inside:
        build()
    found = measure(chosen.rounds, chosen.times)
    print(table(found))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        marked = re.compile(r"(<!-- bench -->\n).*?(<!-- end -->)", re.DOTALL)
        PAGE.write_text(marked.sub(lambda mark: f"{mark[1]}{table(found)}\n{mark[2]}", PAGE.read_text()))
    missed = [case for case, goal in GOALS.items() if found[case]["ratio"] > goal]
    if missed:
        sys.exit("missed: " + "; ".join(missed))
    return None


def build() -> None:
    """Make the peers' environment unless it is there, and run this file in it."""
    if not PYTHON.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    command = [PYTHON, __file__, "--inside", *sys.argv[1:]]
    # The stable names, as ours are; without it the peer writes the old ones.
    environ = {"PYTHONPATH": str(ROOT / "src"), "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
    sys.exit(subprocess.run(command, cwd=ROOT, env=environ).returncode)


if __name__ == "__main__":
    main()
