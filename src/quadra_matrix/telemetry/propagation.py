"""Where an incoming request's trace began: W3C ``traceparent`` and ``baggage``, or B3. Bad headers are no headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

LONGEST_BAGGAGE = 8192
"""Bytes; the most that the specification makes anybody carry. Longer baggage is dropped whole."""
MOST_ENTRIES = 64
"""Entries of baggage that are carried; each one is copied into every outgoing request."""
LONGEST_STATE = 512
"""Characters of ``tracestate`` that are carried."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)

HEADERS = ("traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
"""The headers that carry a trace."""
_KEYS = {name: "HTTP_" + name.upper().replace("-", "_") for name in HEADERS}

Header = Callable[[str], str | None]
"""Returns the value of a header by its lower-case name, or None."""


@dataclass(frozen=True, slots=True)
class Remote:
    """The span of another process that made this request."""

    trace_id: int
    span_id: int
    is_sampled: bool | None
    """None if the caller leaves the choice to us."""
    state: str = ""
    """``tracestate`` as it came."""


def remote_of(header: Header) -> Remote | None:
    """Return who called, by ``traceparent`` or else by B3; None for a request that continues no trace."""
    traceparent = header("traceparent")
    if traceparent is not None:
        return _w3c(traceparent, header("tracestate"))
    single = header("b3")
    if single is not None:
        return _b3(*(*single.split("-"), "", "", "")[:3])
    trace_id = header("x-b3-traceid")
    if trace_id is None:
        return None
    sampled = "d" if header("x-b3-flags") == "1" else header("x-b3-sampled")
    return _b3(trace_id, header("x-b3-spanid") or "", sampled or "")


def environ_header(environ: Mapping[str, object]) -> Header:
    """Return the reader of those headers of a WSGI request that carry a trace."""

    def header(name: str) -> str | None:
        value = environ.get(_KEYS[name])
        return value if isinstance(value, str) else None

    return header


def baggage_of(text: str | None) -> dict[str, str]:
    """Return the entries of a ``baggage`` header; properties and entries that cannot be read are left out.

    >>> baggage_of("tenant=blue%20sky;ttl=5, bad, =x")
    {'tenant': 'blue sky'}
    """
    if not text or len(text) > LONGEST_BAGGAGE:
        return {}
    entries = (entry.partition(";")[0].partition("=") for entry in text.split(",")[:MOST_ENTRIES])
    return {key.strip(): unquote_plus(value.strip()) for key, is_pair, value in entries if is_pair and key.strip()}


def _w3c(traceparent: str, state: str | None) -> Remote | None:
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    kept = state if state is not None and len(state) <= LONGEST_STATE else ""
    return _remote(trace, span, bool(int(flags, 16) & 1), kept)


def _b3(trace: str, span: str, sampled: str) -> Remote | None:
    """Return the caller by B3; its ids are 64 or 128 bits long. A bare decision (``b3: 0``) names no trace."""
    if len(trace) not in (16, 32) or len(span) != 16 or not _HEX.fullmatch(trace) or not _HEX.fullmatch(span):
        return None
    decision = {"1": True, "d": True, "true": True, "0": False, "false": False}.get(sampled)
    return _remote(trace, span, decision)


def _remote(trace: str, span: str, is_sampled: bool | None, state: str = "") -> Remote | None:
    trace_id, span_id = int(trace, 16), int(span, 16)
    return Remote(trace_id, span_id, is_sampled, state) if trace_id and span_id else None
