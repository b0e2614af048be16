"""Where an incoming request's trace began: W3C ``traceparent`` and ``baggage``, or B3. Bad headers are no headers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_plus

LONGEST_BAGGAGE = 8192
"""Bytes; the most that the specification makes anybody carry. Longer baggage is dropped whole."""
MOST_ENTRIES = 64
"""Entries of baggage that are carried; each one is copied into every outgoing request."""
LONGEST_STATE = 512
"""Characters of ``tracestate`` that are carried."""

_TRACEPARENT = re.compile(
    r"\s*((?!ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-.*)?\s*", re.ASCII
)
"""Version, trace, span, the digit of ``sampled``, and what a later version adds."""
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)

Header = Callable[[str], str | None]
"""Returns the value of a header by its name, or None."""


class Names(NamedTuple):
    """What the headers that carry a trace are called."""

    traceparent: str = "traceparent"
    tracestate: str = "tracestate"
    baggage: str = "baggage"
    b3: str = "b3"
    b3_trace: str = "x-b3-traceid"
    b3_span: str = "x-b3-spanid"
    b3_sampled: str = "x-b3-sampled"
    b3_flags: str = "x-b3-flags"


NAMES = Names()
"""As in HTTP, in lower case."""
WSGI_NAMES = Names(*("HTTP_" + name.upper().replace("-", "_") for name in NAMES))
"""As in the environment of a WSGI request."""


class Remote(NamedTuple):
    """The span of another process that made this request."""

    trace_id: int
    span_id: int
    is_sampled: bool | None
    """None if the caller leaves the choice to us."""
    state: str = ""
    """``tracestate`` as it came."""


def remote_of(header: Header, names: Names = NAMES) -> Remote | None:
    """Return who called, by ``traceparent`` or else by B3; None for a request that continues no trace."""
    traceparent = header(names.traceparent)
    if traceparent is None:
        return _remote_by_b3(header, names)
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace, span, sampled, rest = found.groups()
    if rest and version == "00":
        return None
    state = header(names.tracestate)
    kept = state if state and len(state) <= LONGEST_STATE else ""
    return Remote(int(trace, 16), int(span, 16), sampled in "13579bdf", kept)


def baggage_of(text: str | None) -> dict[str, str]:
    """Return the entries of a ``baggage`` header; properties and entries that cannot be read are left out.

    >>> baggage_of("tenant=blue%20sky;ttl=5, bad, =x")
    {'tenant': 'blue sky'}
    """
    if not text or len(text) > LONGEST_BAGGAGE:
        return {}
    entries = (entry.partition(";")[0].partition("=") for entry in text.split(",")[:MOST_ENTRIES])
    return {key.strip(): unquote_plus(value.strip()) for key, is_pair, value in entries if is_pair and key.strip()}


def _remote_by_b3(header: Header, names: Names) -> Remote | None:
    single = header(names.b3)
    if single is not None:
        return _b3(*(*single.split("-"), "", "", "")[:3])
    trace_id = header(names.b3_trace)
    if trace_id is None:
        return None
    sampled = "d" if header(names.b3_flags) == "1" else header(names.b3_sampled)
    return _b3(trace_id, header(names.b3_span) or "", sampled or "")


def _b3(trace: str, span: str, sampled: str) -> Remote | None:
    """Return the caller by B3; its ids are 64 or 128 bits long. A bare decision (``b3: 0``) names no trace."""
    if len(trace) not in (16, 32) or len(span) != 16 or not _HEX.fullmatch(trace) or not _HEX.fullmatch(span):
        return None
    decision = {"1": True, "d": True, "true": True, "0": False, "false": False}.get(sampled)
    trace_id, span_id = int(trace, 16), int(span, 16)
    return Remote(trace_id, span_id, decision) if trace_id and span_id else None
