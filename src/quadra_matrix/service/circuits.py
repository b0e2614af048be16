"""What the operators' routes of circuit breakers take and answer, for the documents; the routes are the breaker's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flask import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from quadra_matrix.api.flask import problem_response
from quadra_matrix.api.operation import Refinement
from quadra_matrix.api.problem import Problem, kind_of
from quadra_matrix.errors import QuadraError

Count = Field(ge=0)


class CircuitView(BaseModel):
    """One circuit breaker of the worker that answers."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: str
    state: str
    """closed, open or half_open."""
    mode: str
    """auto while the rules decide; otherwise what an operator asked for."""
    successes: int = Count
    failures: int = Count
    ignored: int = Count
    """Calls that say nothing: ignored exceptions, cancelled, interrupted or closed early."""
    slow: int = Count
    rejected: int = Count
    spared: int = Count
    """Calls that only shadow mode let through."""
    stale: int = Count
    """Results that came after the circuit had changed."""
    opened: int = Count
    half_opened: int = Count
    closed: int = Count
    seconds_in_state: float = Field(ge=0)
    retry_after: float | None
    """Seconds until a call may be admitted; null while closed, or held open by an operator."""
    last_failure: str | None
    last_failure_at: AwareDatetime | None
    success_rate: float = Field(ge=0, le=100)
    """Percentage of the calls that succeeded; 100 before the first."""


class CircuitList(BaseModel):
    """Every circuit breaker of the worker that answers."""

    circuit_breakers: list[CircuitView]


class CircuitChange(BaseModel):
    """What an operator wants."""

    model_config = ConfigDict(extra="ignore")

    action: Literal["open", "close", "reset", "disable", "shadow"]


REFINEMENTS = {
    "circuit_breakers_list_breakers": Refinement(
        summary="List the circuit breakers.",
        response=CircuitList,
    ),
    "circuit_breakers_show_breaker": Refinement(
        summary="Show one circuit breaker.",
        response=CircuitView,
    ),
    "circuit_breakers_change_breaker": Refinement(
        summary="Open, close, reset, disable or shadow a circuit breaker.",
        body=CircuitChange,
        response=CircuitView,
        responses={400: Problem},
    ),
}
"""What the documents say of each route, by operation id."""


def answer_as_problem(kind: type[QuadraError], status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """Return a refusal as every other problem of the service, with the id of its trace."""
    return problem_response(kind_of(kind, status).problem(detail), headers)
