"""The promised snippet for tracing, verbatim."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from tests.telemetry.receivers import http_receiver

SNIPPET = """
from utils.distributed_tracing import setup_distributed_tracing

app = Flask(__name__)
tracing = setup_distributed_tracing(app, exporter_type="jaeger")

# Decorator for function tracing
@tracing.trace_function(name="train_model")
def train_model(data):
    # Automatic span creation
    pass

# Manual span creation
with tracing.create_span("database_query") as span:
    span.set_attribute("query", "SELECT * FROM users")
    result = db.execute(query)
"""


def test_the_snippet_traces_to_jaeger(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as (url, received):
        monkeypatch.setenv("JAEGER_HOST", "127.0.0.1")
        monkeypatch.setenv("JAEGER_PORT", url.rpartition(":")[2])
        db = SimpleNamespace(execute=lambda query: [query])
        room: dict[str, Any] = {"Flask": Flask, "db": db, "query": "SELECT 1", "__name__": "shop"}

        exec(textwrap.dedent(SNIPPET), room)
        room["train_model"](None)
        assert room["tracing"].close(10)

    assert [span.name for span in received.spans] == ["database_query", "train_model"]
    assert received.spans[0].attributes[0].value.string_value == "SELECT * FROM users"
