"""Is the service well? Named checks, and the verdict over them."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import QuadraError

log = logging.getLogger(__name__)


class State(enum.StrEnum):
    """What a check found, and the verdict over all of them."""

    OK = "ok"
    WAITING = "waiting"
    """Not yet, and nothing is wrong: a model that is being loaded, a stop that lets requests finish."""
    FAILED = "failed"
    DEGRADED = "degraded"
    """Of the verdict only: requests are answered, but a part that they do not need is not well."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. The detail is shown to anybody who asks, so it holds no address and no secret."""

    state: State
    detail: str | None = None


OK = Finding(State.OK)
Check = Callable[[], Finding]


@dataclass(frozen=True, slots=True)
class Checked:
    """The finding of one check, and how long it took in seconds."""

    state: State
    detail: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Every check by its name, and the verdict over them."""

    state: State
    checks: Mapping[str, Checked]

    @property
    def answers(self) -> bool:
        """Tell whether requests are answered as they should be."""
        return self.state in {State.OK, State.DEGRADED}


NO_CHECKS: Mapping[str, Check] = {}


def examine(
    needed: Mapping[str, Check], watched: Mapping[str, Check] = NO_CHECKS, clock: Clock = SYSTEM_CLOCK
) -> Report:
    """Run every check; requests need the parts of ``needed`` and do without those of ``watched``.

    A check that raises an error of ours has failed; the log says why, the report does not.
    """
    first = {name: _run(name, check, clock) for name, check in needed.items()}
    second = {name: _run(name, check, clock) for name, check in watched.items()}
    return Report(_verdict(_states(first), _states(second)), {**first, **second})


def _run(name: str, check: Check, clock: Clock) -> Checked:
    began = clock.monotonic()
    try:
        found = check()
    except QuadraError as failed:
        log.warning("health check %s failed: %s", name, failed)
        found = Finding(State.FAILED, f"{type(failed).__name__}; the log says more")
    return Checked(found.state, found.detail, clock.monotonic() - began)


def _states(checked: Mapping[str, Checked]) -> set[State]:
    return {found.state for found in checked.values()}


def _verdict(needed: set[State], watched: set[State]) -> State:
    for state in (State.FAILED, State.WAITING):
        if state in needed:
            return state
    return State.OK if watched <= {State.OK} else State.DEGRADED
