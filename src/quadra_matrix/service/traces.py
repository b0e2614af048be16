"""What the routes of traces answer, for the documents; the routes are those of telemetry."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quadra_matrix.api.operation import Refinement
from quadra_matrix.api.problem import Problem


class TraceView(BaseModel):
    """One line of the list of traces."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    trace_id: str
    """32 hexadecimal digits."""
    name: str
    """Of the span that began it."""
    services: list[str]
    start: float
    """Seconds since the epoch."""
    seconds: float = Field(ge=0)
    spans: int = Field(ge=1)
    errors: int = Field(ge=0)
    """Spans that failed."""


class TraceList(BaseModel):
    """The newest traces first."""

    traces: list[TraceView]


class EventView(BaseModel):
    """Something that happened within a span."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: str
    at: int
    """Nanoseconds since the epoch."""
    attributes: dict[str, Any]


class SpanView(BaseModel):
    """One piece of work."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    trace_id: str
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str | None
    name: str
    kind: str
    """internal, server, client, producer or consumer."""
    start: int
    """Nanoseconds since the epoch."""
    end: int
    """Nanoseconds since the epoch."""
    service: str
    error: str | None
    """What failed; null unless it failed."""
    attributes: dict[str, Any]
    events: list[EventView]


class WholeTrace(BaseModel):
    """Every span of a trace by its start."""

    trace_id: str
    spans: list[SpanView]


_MAY_BE_AWAY = {503: Problem}

REFINEMENTS = {
    "traces_list_traces": Refinement(
        summary="List the newest traces.",
        description="`limit` is the most to list, `service` keeps those of one service, `errors=true` the failed ones.",
        response=TraceList,
        responses=_MAY_BE_AWAY | {400: Problem},
    ),
    "traces_show_trace": Refinement(summary="Show one trace.", response=WholeTrace, responses=_MAY_BE_AWAY),
    "traces_receive": Refinement(hidden=True),  # described by the protocol, OTLP over HTTP
}
"""What the documents say of each route, by operation id."""
