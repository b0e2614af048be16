"""OTLP in JSON is read as OTLP in protobuf is, and whatever strangers send is refused, never an error of ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from werkzeug.test import TestResponse

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.flask import LARGEST_REQUEST, trace_routes
from quadra_matrix.telemetry.otel import receive
from quadra_matrix.telemetry.otlpjson import spans_of
from quadra_matrix.telemetry.traces import TraceStore
from quadra_matrix.telemetry.unpack import TooLarge, unpacked

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"
SENT: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "library", "version": "1.0"},
                    "spans": [
                        {
                            "traceId": TRACE.upper(),
                            "spanId": SPAN,
                            "parentSpanId": PARENT,
                            "name": "GET /orders",
                            "kind": 2,
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "attributes": [
                                {"key": "text", "value": {"stringValue": "grüße"}},
                                {"key": "number", "value": {"intValue": "-7"}},
                                {"key": "part", "value": {"doubleValue": 0.5}},
                                {"key": "odd", "value": {"doubleValue": "NaN"}},
                                {"key": "flag", "value": {"boolValue": False}},
                                {"key": "bytes", "value": {"bytesValue": "AAE="}},
                                {"key": "many", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}},
                                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {}}]}}},
                                {"key": "nothing"},
                            ],
                            "events": [{"name": "exception", "timeUnixNano": "1544712660500000000"}],
                            "status": {"code": 2, "message": "it broke"},
                            "aFieldOfTomorrow": {"x": [1]},
                        }
                    ],
                }
            ],
        }
    ]
}


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "traces.db")


@pytest.fixture
def post(store: TraceStore) -> Callable[..., TestResponse]:
    app = Flask("receiver")
    app.register_blueprint(trace_routes(store, authorize=lambda: True))

    def send(body: bytes, encoding: str | None = None, content_type: str = "application/json") -> TestResponse:
        headers = {"Content-Encoding": encoding} if encoding else {}
        return app.test_client().post("/v1/traces", data=body, content_type=content_type, headers=headers)

    return send


Post = Callable[..., TestResponse]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_span_sent_as_json_is_kept(post: Post, store: TraceStore, content_type: str, is_packed: bool) -> None:
    body = json.dumps(SENT).encode()

    answer = post(gzip.compress(body) if is_packed else body, "gzip" if is_packed else None, content_type)

    assert (answer.status_code, answer.mimetype, answer.get_json()) == (200, "application/json", {})
    (span,) = store.trace(TRACE)
    assert (span.span_id, span.parent_id, span.name, span.kind) == (SPAN, PARENT, "GET /orders", "server")
    assert (span.service, span.error, span.seconds) == ("shop", "it broke", 1.0)
    assert span.events[0].name == "exception"
    assert span.attributes == {
        "text": "grüße",
        "number": -7,
        "part": 0.5,
        "odd": "nan",
        "flag": False,
        "bytes": "AAE=",
        "many": ("1", ""),
        "map": "{'a': ''}",
        "nothing": "",
    }


def test_json_and_protobuf_say_the_same() -> None:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    sent = group.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="work", kind=3, start_time_unix_nano=7
    )
    sent.attributes.add(key="n").value.int_value = 2**53 + 1
    sent.events.add(name="said", time_unix_nano=2**63 + 5)
    document = json_format.MessageToDict(request)
    (written,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    written |= {"traceId": TRACE, "spanId": SPAN, "kind": 3}  # the definitions ask for these instead of protobuf's own

    assert spans_of(json.dumps(document).encode()) == receive.spans_of(request.SerializeToString())


def changed(place: str, value: Any) -> bytes:
    """Return a request with another value at ``place``, a field of its only span."""
    document = json.loads(json.dumps(SENT))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0][place] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"text"',
        b"\xff\xfe",
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [null]}',
        b"[" * 100_000,
        b'{"resourceSpans":' + b"[" * 100_000,
        changed("name", 7),
        changed("name", None),
        changed("attributes", {"a": 1}),
        changed("attributes", [{"key": "n", "value": {"intValue": 2**63}}]),
        changed("attributes", [{"key": "n", "value": {"intValue": "1" * 10_000}}]),
        changed("startTimeUnixNano", -1),
        changed("startTimeUnixNano", "soon"),
        changed("endTimeUnixNano", 2**64),
        changed("status", "ERROR"),
        changed("kind", {}),
        changed("name", "\ud800"),
    ],
    ids=range(21),
)
def test_a_body_that_is_no_request_is_refused(post: Post, body: bytes) -> None:
    assert post(body).status_code == 400


@pytest.mark.parametrize(("field", "value"), [("traceId", "abc"), ("spanId", "g" * 16), ("traceId", "٣" * 32)])
def test_a_span_without_ids_is_left_out(field: str, value: str) -> None:
    assert spans_of(changed(field, value)) == []


@pytest.mark.parametrize("kind", [-1, 6, 99])
def test_an_unknown_kind_is_an_internal_one(kind: int) -> None:
    assert spans_of(changed("kind", kind))[0].kind == "internal"


def test_a_parent_that_is_no_id_is_no_parent() -> None:
    assert spans_of(changed("parentSpanId", "x"))[0].parent_id is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "resourceSpans", "scopeSpans", "spans", "resource", "attributes", "key", "value", "stringValue", "intValue",
        "arrayValue", "kvlistValue", "values", "traceId", "spanId", "name", "kind", "events", "status", "code",
    ]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_no_json_breaks_the_reader(document: Any) -> None:
    for body in (json.dumps(document).encode(), json.dumps({"resourceSpans": [{"scopeSpans": [document]}]}).encode()):
        try:
            spans_of(body)
        except InvalidValue:
            continue


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b"{}")[:-4], "gzip", 400),
        (b"{}", "gzip", 400),
        (b"{}", "br", 400),
        (gzip.compress(b" " * (LARGEST_REQUEST + 1)), "gzip", 413),
        (gzip.compress(b" " * (LARGEST_REQUEST // 2)) * 3, "gzip", 413),
        (b" " * (LARGEST_REQUEST + 1), None, 413),
        (b"{}", "identity", 200),
        (b"{}", "x-gzip", 400),
    ],
    ids=["cut", "not gzip", "unknown", "bomb", "bomb in parts", "large", "none", "not gzip either"],
)
def test_packed_bodies_are_bounded(post: Post, body: bytes, encoding: str | None, status: int) -> None:
    assert post(body, encoding).status_code == status


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_a_gzip_of_several_parts_is_their_sum(parts: list[bytes]) -> None:
    packed, whole = b"".join(map(gzip.compress, parts)), b"".join(parts)

    assert unpacked(packed, "gzip", len(whole)) == whole
    if whole:
        with pytest.raises(TooLarge):
            unpacked(packed, "gzip", len(whole) - 1)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_unpacking(body: bytes) -> None:
    try:
        unpacked(body, "gzip", 1000)
    except (InvalidValue, TooLarge):
        return


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
def test_other_media_are_refused(post: Post, content_type: str) -> None:
    assert post(b"{}", content_type=content_type).status_code == 415
