"""Real receivers of spans for tests: a Zipkin and a Jaeger, each on loopback ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services import fetch
from tests.services.process import free_port, needs, running

JAEGER_CONFIGURATION = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage: {{backends: {{kept: {{memory: {{max_traces: 1000}}}}}}}}
  jaeger_query:
    storage: {{traces: kept}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: kept}}
"""


@dataclass(frozen=True)
class Zipkin:
    """A server that runs."""

    url: str

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace; empty while it is not there."""
        found: list[dict[str, Any]] = _asked(f"{self.url}/api/v2/trace/{trace_id}") or []
        return found


@dataclass(frozen=True)
class Jaeger:
    """A server that runs."""

    query: str
    http_port: int
    grpc_port: int

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace, with their ``process``; empty while it is not there."""
        found = _asked(f"{self.query}/api/traces/{trace_id}")
        traces = (found or {}).get("data") or []
        return [
            {**span, "process": trace["processes"][span["processID"]]} for trace in traces for span in trace["spans"]
        ]


@contextlib.contextmanager
def zipkin_server(folder: Path) -> Iterator[Zipkin]:
    """Yield a Zipkin that keeps its spans in memory."""
    java = needs("java", "apt-get install default-jre-headless")
    jar = _fetched(fetch.zipkin)
    port = free_port()
    address = [
        "--armeria.ports[0].ip=127.0.0.1",
        f"--armeria.ports[0].port={port}",
        "--armeria.ports[0].protocols[0]=http",
    ]
    url = f"http://127.0.0.1:{port}"
    command = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jar, *address]
    with running(command, log=folder / "zipkin.log", ready=lambda: _asked(f"{url}/health") is not None, cwd=folder):
        yield Zipkin(url)


@contextlib.contextmanager
def jaeger_server(folder: Path) -> Iterator[Jaeger]:
    """Yield a Jaeger that takes OTLP and keeps its spans in memory."""
    program = _fetched(fetch.built_jaeger, is_optional=True)
    ports = {name: free_port() for name in ("query", "query_grpc", "grpc", "http")}
    configuration = folder / "jaeger.yaml"
    configuration.write_text(JAEGER_CONFIGURATION.format(**ports))
    made = Jaeger(f"http://127.0.0.1:{ports['query']}", ports["http"], ports["grpc"])
    with running(
        [program, "--config", configuration],
        log=folder / "jaeger.log",
        ready=lambda: _asked(f"{made.query}/api/services") is not None,
    ):
        yield made


def _fetched(fetching: Callable[[], Path], *, is_optional: bool = False) -> Path:
    """Return a server's program; without it skip, or fail where skipping is not allowed (CI).

    One that ``is_optional`` is skipped there too: Jaeger needs a Go that Debian does not have, and minutes to build.
    """
    try:
        return fetching()
    except fetch.Unavailable as reason:
        if os.environ.get("QUADRA_TEST_NO_SKIP") and not is_optional:
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def _asked(url: str) -> Any:
    """Return the JSON at ``url``; None while nothing answers or it is not there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None
