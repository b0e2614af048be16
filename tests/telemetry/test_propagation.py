"""A request continues its caller's trace, and no header can break it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.telemetry.propagation import NAMES, WSGI_NAMES, Remote, baggage_of, remote_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_ID, SPAN_ID = int(TRACE, 16), int(SPAN, 16)


@pytest.mark.parametrize(
    ("headers", "sampled"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, False),
        ({"traceparent": f" 00-{TRACE}-{SPAN}-03 "}, True),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-is-like"}, True),
        ({"b3": f"{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"}, True),
        ({"b3": f"{TRACE}-{SPAN}-d"}, True),
        ({"b3": f"{TRACE}-{SPAN}-0"}, False),
        ({"b3": f"{TRACE}-{SPAN}"}, None),
        ({"x-b3-traceid": TRACE.upper(), "x-b3-spanid": SPAN, "x-b3-sampled": "1"}, True),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-flags": "1"}, True),
        ({"x-b3-traceid": TRACE, "x-b3-spanid": SPAN}, None),
    ],
)
def test_a_caller_is_understood(headers: dict[str, str], sampled: bool | None) -> None:
    assert remote_of(headers.get) == Remote(TRACE_ID, SPAN_ID, sampled)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
        {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"},
        {"traceparent": ""},
        {"b3": "0"},
        {"b3": f"{TRACE[:-1]}-{SPAN}-1"},
        {"b3": f"{TRACE}-nothexadecimal!!-1"},
        {"x-b3-traceid": TRACE},
        {},
    ],
)
def test_a_malformed_caller_is_no_caller(headers: dict[str, str]) -> None:
    assert remote_of(headers.get) is None


def test_short_b3_ids_are_the_lower_half() -> None:
    found = remote_of({"b3": f"{TRACE[16:]}-{SPAN}-1"}.get)

    assert found == Remote(int(TRACE[16:], 16), SPAN_ID, True)


def test_w3c_goes_before_b3() -> None:
    found = remote_of({"traceparent": f"00-{TRACE}-{SPAN}-00", "b3": f"{SPAN}-{SPAN}-1"}.get)

    assert found == Remote(TRACE_ID, SPAN_ID, False)


def test_state_travels_unless_it_is_too_long() -> None:
    parent = f"00-{TRACE}-{SPAN}-01"

    kept = remote_of({"traceparent": parent, "tracestate": "vendor=1"}.get)
    dropped = remote_of({"traceparent": parent, "tracestate": "v" * 513}.get)

    assert kept is not None
    assert kept.state == "vendor=1"
    assert dropped is not None
    assert dropped.state == ""


def test_baggage_is_read_and_bounded() -> None:
    assert baggage_of("tenant=blue%20sky;ttl=1, user = 7 ") == {"tenant": "blue sky", "user": "7"}
    assert baggage_of("x" * 10_000) == {}
    assert len(baggage_of(",".join(f"k{n}=v" for n in range(1000)))) == 64
    assert baggage_of(None) == {}


def test_wsgi_headers_are_found_by_their_names() -> None:
    environ = {"HTTP_X_B3_TRACEID": TRACE, "HTTP_X_B3_SPANID": SPAN, "HTTP_X_B3_FLAGS": "1"}

    assert remote_of(environ.get, WSGI_NAMES) == Remote(TRACE_ID, SPAN_ID, True)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-.*")))
def test_no_header_raises(headers: dict[str, str]) -> None:
    remote = remote_of(headers.get)
    baggage_of(headers.get("baggage"))

    assert remote is None or (remote.trace_id and remote.span_id)
