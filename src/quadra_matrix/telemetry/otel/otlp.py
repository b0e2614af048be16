"""Recorded spans as the bytes of an OTLP export request: ``opentelemetry.proto.collector.trace.v1``, in protobuf.

Written out by hand: building the same messages from generated classes costs four times as much, for the sake of fields
that nobody reads in this process. ``tests/telemetry/test_otlp.py`` reads the bytes by the official definitions.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.util.types import AnyValue

from quadra_matrix.telemetry.otel.span import Event, Link, RecordedSpan, Scope

HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200
"""Bits of ``flags``: that it is known whether the parent is of another process, and that it is."""
LONGEST_REMEMBERED = 64
"""Characters of a text whose bytes are remembered: a method, a route, a host; not every path there is."""

_FIXED = struct.Struct("<BQ").pack
_FLAGS = struct.Struct("<BBI").pack
_DOUBLE = struct.Struct("<Bd").pack
_FEW = (str, int, float)
_VARINTS = [bytes((number,)) for number in range(128)]


def export_request(spans: Iterable[RecordedSpan], resource: Mapping[str, AnyValue]) -> bytes:
    """Return the request that delivers ``spans`` of the process that ``resource`` describes."""
    by_scope: dict[Scope, list[bytes]] = {}
    for span in spans:
        by_scope.setdefault(span.scope, []).append(_field(2, _span(span)))
    scopes = b"".join(_field(2, _scope_spans(scope, encoded)) for scope, encoded in by_scope.items())
    return _field(1, _field(1, _attributes(1, resource)) + scopes)


def _scope_spans(scope: Scope, spans: Sequence[bytes]) -> bytes:
    named = _field(1, _text(1, scope.name) + _text(2, scope.version))
    return named + b"".join(spans) + _text(3, scope.schema_url)


def _span(span: RecordedSpan) -> bytes:
    parts = [
        b"\x0a\x10",
        span.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        span.span_id.to_bytes(8, "big"),
        _text(3, span.state),
        b"\x22\x08" + span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
        _remembered_text(5, span.name),
        bytes((0x30, span.kind.value + 1)),
        _FIXED(0x39, span.start_time),
        _FIXED(0x41, span.end_time),
        _attributes(9, span.attributes),
        _number(10, span.dropped_attributes),
        *[_field(11, _event(event)) for event in span.events],
        _number(12, span.dropped_events),
        *[_field(13, _link(link)) for link in span.links],
        _number(14, span.dropped_links),
        b"" if span.is_error is None else _field(15, _text(2, span.description) + _number(3, 1 + span.is_error)),
        _FLAGS(0x85, 0x01, HAS_IS_REMOTE | (IS_REMOTE if span.is_parent_remote else 0)),
    ]
    return b"".join(parts)


def _event(event: Event) -> bytes:
    return _FIXED(0x09, event.at) + _text(2, event.name) + _attributes(3, event.attributes)


def _link(link: Link) -> bytes:
    context = link.context
    flags = HAS_IS_REMOTE | (IS_REMOTE if context.is_remote else 0)
    ids = b"\x0a\x10" + context.trace_id.to_bytes(16, "big") + b"\x12\x08" + context.span_id.to_bytes(8, "big")
    return (
        ids
        + _text(3, context.trace_state.to_header())
        + _attributes(4, link.attributes)
        + struct.pack("<BI", 0x35, flags)
    )


def _attributes(number: int, attributes: Mapping[str, AnyValue]) -> bytes:
    """Return the attributes as fields ``number``."""
    encoded = []
    for key, value in attributes.items():
        if isinstance(value, _FEW) and (not isinstance(value, str) or len(value) <= LONGEST_REMEMBERED):
            encoded.append(_remembered_pair(number, key, value))
        elif value is not None:
            encoded.append(_field(number, _pair(key, value)))
    return b"".join(encoded)


@functools.lru_cache(maxsize=4096, typed=True)  # typed: 1, 1.0 and True are equal, and not the same
def _remembered_pair(number: int, key: str, value: str | int | float) -> bytes:
    return _field(number, _pair(key, value))


def _pair(key: str, value: AnyValue) -> bytes:
    return _text(1, key) + _field(2, _value(value))


def _value(value: AnyValue) -> bytes:
    """Return an ``AnyValue``; what it cannot hold is sent as its text."""
    if isinstance(value, str):
        return _field(1, _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & (2**64 - 1)) if -(2**63) <= value < 2**63 else _field(1, _utf8(str(value)))
    if isinstance(value, float):
        return _DOUBLE(0x21, value)
    if isinstance(value, bytes):
        return _field(7, value)
    if isinstance(value, Mapping):
        return _field(6, b"".join(_field(1, _pair(str(key), item)) for key, item in value.items()))
    if isinstance(value, Sequence):
        return _field(5, b"".join(_field(1, _value(item)) for item in value))
    return b"" if value is None else _field(1, _utf8(str(value)))


@functools.lru_cache(maxsize=1024)
def _remembered_text(number: int, text: str) -> bytes:
    return _text(number, text)


def _text(number: int, text: str) -> bytes:
    return _field(number, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    """Return UTF-8; half a surrogate pair, which has none, becomes a question mark."""
    return text.encode("utf-8", "replace")


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _field(number: int, content: bytes) -> bytes:
    """Return a field that says its own length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 128:
        return _VARINTS[value]
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
