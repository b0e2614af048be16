"""What a receiver of spans that hangs or is away costs the service it watches: time to end, memory, latency.

Run: ``python bench/hanging.py`` (``--spans``, ``--rounds``; ``--write`` keeps the JSON and the table in docs). All
stays on loopback: one receiver accepts connections and never answers, of another the port is closed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask

from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.flask import setup_distributed_tracing
from quadra_matrix.telemetry.otel import Tracing

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "tracing.md"
RESULTS = ROOT / "bench" / "results" / "hanging.json"
PROTOCOLS = {"OTLP over HTTP": "http/protobuf", "OTLP over gRPC": "grpc", "Zipkin": "zipkin"}
LIMITS = {"flush_s": 2.5, "sigterm_s": 2.5, "memory_mib": 32.0, "p99_percent": 5.0}
CHILD = """
import signal, sys
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.otel import Tracing

tracing = Tracing(tracing_options())
for _ in range(1000):
    with tracing.create_span("work"):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def receiver(kind: str) -> Iterator[str]:
    """Yield the address of a receiver that accepts and stays silent, or of one that is not there."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if kind == "hangs":
            listening.listen(128)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def variables(protocol: str, url: str) -> dict[str, str]:
    if protocol == "zipkin":
        return {"TRACING_EXPORTER": "zipkin", "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"{url}/api/v2/spans"}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def flush_seconds(environ: dict[str, str]) -> float:
    """Return how long ``flush(2)`` takes with a full queue; worst of three."""
    tracing = Tracing(tracing_options(environ))
    for _ in range(3000):
        tracing.start("work").end()
    took = []
    for _ in range(3):
        began = time.monotonic()
        tracing.flush(2.0)
        took.append(time.monotonic() - began)
    tracing.close(0)
    return max(took)


def sigterm_seconds(environ: dict[str, str]) -> float:
    """Return how long a process with a full queue lives on after SIGTERM."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    child.stdout.readline()
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    child.wait(60)
    child.stdout.close()
    return time.monotonic() - began


def growth_mib(environ: dict[str, str], spans: int) -> float:
    """Return by how much the memory of this process grows over so many spans, at most."""
    tracing = Tracing(tracing_options(environ))
    before = largest = resident()
    for number in range(spans):
        span = tracing.start("work", {"http.request.method": "GET", "url.path": f"/items/{number}"})
        span.set_attribute("http.response.status_code", 200)
        span.end()
        if number % 1000 == 0:
            largest = max(largest, resident())
    tracing.close(0)
    return (largest - before) / 2**20


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def p99_growth(url: str, rounds: int, times: int = 4000) -> float:
    """Return by how many per cent the 99th percentile of requests grows over a receiver in process; median of rounds.

    Both record every request. The rounds interleave and time each request by the processor, so that what else runs on
    the machine does not count.
    """
    hangs, answers = traced("otlp", url), traced("embedded", url)
    ratios = []
    for _ in range(rounds):
        there, here = p99(hangs, times), p99(answers, times)
        ratios.append(there / here)
    return (statistics.median(ratios) - 1) * 100


def traced(exporter: str, url: str) -> Flask:
    app = Flask("bench")
    endpoint = f"{url}/v1/traces"
    setup_distributed_tracing(app, exporter, endpoint=endpoint, environ={}, deliver=lambda spans: None)

    @app.get("/items/<int:item>")
    def show(item: int) -> dict[str, int]:
        return {"item": item}

    return app


def p99(app: Flask, times: int) -> float:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/items/7", "SERVER_NAME": "127.0.0.1"}
    environ |= {"SERVER_PORT": "5000", "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:5000"}
    seen = []
    for _ in range(times):
        began = time.thread_time()
        body = app.wsgi_app(dict(environ), lambda status, headers, info=None: None)  # type: ignore[arg-type]
        list(body)
        body.close()  # type: ignore[attr-defined]
        seen.append(time.thread_time() - began)
    return sorted(seen)[times * 99 // 100]


def measure(spans: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    }
    for kind in ("hangs", "is away"):
        with receiver(kind) as url:
            for name, protocol in PROTOCOLS.items():
                environ = variables(protocol, url)
                row = {"flush_s": flush_seconds(environ), "sigterm_s": sigterm_seconds(environ)}
                found[f"{name}, {kind}"] = {key: round(value, 2) for key, value in row.items()}
            found[f"OTLP over HTTP, {kind}"] |= {
                "memory_mib": round(growth_mib(variables("http/protobuf", url), spans), 1),
                "p99_percent": round(p99_growth(url, rounds), 1),
            }
    return found


def table(found: dict[str, Any], spans: int) -> str:
    """Return the figures as Markdown."""
    head = f"| receiver | `flush(2)`, s | SIGTERM to the end, s | memory over {spans:,} spans, MiB | p99 of requests |"
    lines = [head, "|---|---|---|---|---|"]
    for name, row in found.items():
        if isinstance(row, dict):
            memory = f"{row['memory_mib']:.1f}" if "memory_mib" in row else ""
            p99_cell = f"{row['p99_percent']:+.1f} %" if "p99_percent" in row else ""
            lines.append(f"| {name} | {row['flush_s']:.2f} | {row['sigterm_s']:.2f} | {memory} | {p99_cell} |")
    return "\n".join([*lines, "", f"{found['machine']}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.spans, chosen.rounds)
    print(table(found, chosen.spans))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        marked = re.compile(r"(<!-- hanging -->\n).*?(<!-- end hanging -->)", re.DOTALL)
        text = table(found, chosen.spans)
        PAGE.write_text(marked.sub(lambda mark: f"{mark[1]}{text}\n{mark[2]}", PAGE.read_text()))
    missed = [
        f"{name} {key} {row[key]}"
        for name, row in found.items()
        if isinstance(row, dict)
        for key, limit in LIMITS.items()
        if row.get(key, 0) > limit
    ]
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
