"""Spans as Zipkin's JSON, version 2. OpenTelemetry gave its own encoder up in December 2025; the format lives on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from quadra_matrix.telemetry.span import Span, Value


def encode(spans: Iterable[Span]) -> bytes:
    """Return the body of ``POST /api/v2/spans``."""
    return json.dumps([_document(span) for span in spans], separators=(",", ":")).encode()


def _document(span: Span) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": span.trace_id,
        "id": span.span_id,
        "name": span.name,
        "timestamp": span.start // 1000,
        "duration": max(1, (span.end - span.start) // 1000),  # Zipkin reads 0 as "unknown"
        "localEndpoint": {"serviceName": span.service},
        "tags": _tags(span),
        "annotations": [{"timestamp": event.at // 1000, "value": event.name} for event in span.events],
    }
    if span.parent_id:
        document["parentId"] = span.parent_id
    if span.kind != "internal":
        document["kind"] = span.kind.upper()
    return document


def _tags(span: Span) -> dict[str, str]:
    """Return the attributes as text, those of an exception included: Zipkin's annotations carry none."""
    tags = {key: _text(value) for key, value in span.attributes.items()}
    for event in span.events:
        if event.name == "exception":
            tags.update({key: _text(value) for key, value in event.attributes.items()})
    if span.error is not None:
        tags["error"] = span.error or "true"
    return tags


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(_text(item) for item in value) if isinstance(value, tuple) else str(value)
