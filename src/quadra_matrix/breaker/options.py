"""What a breaker is built from: the policy of its machine, what counts as a failure, and what it is fitted with."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from quadra_matrix.breaker.machine import Backoff, Mode, Policy
from quadra_matrix.breaker.shared import SharedStore
from quadra_matrix.breaker.window import Rule
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import require
from quadra_matrix.events import Hook, ignore


@dataclass(frozen=True, slots=True)
class BreakerOptions(Policy):
    """Every option of a breaker; two breakers of one name must have equal ones."""

    failure_types: tuple[type[Exception], ...] = (Exception,)
    """Exceptions that count as failures; the others say nothing about the dependency."""
    ignored_types: tuple[type[Exception], ...] = ()
    """Exceptions that count neither way although ``failure_types`` names them or their parents."""
    is_failure: Callable[[Exception], bool] | None = None
    """Asked about exceptions that passed both lists; False means the exception counts neither way."""
    is_failed_result: Callable[[Any], bool] | None = None
    """Asked about every result; True counts a failure. The caller gets the result unchanged."""
    open_time_of: Callable[[Any], float | None] | None = None
    """Seconds of open time that a failure (exception or result) itself asks for, see ``RetryAfter``."""
    hook: Hook = ignore
    """Receives this breaker's transitions."""
    clock: Clock = SYSTEM_CLOCK
    """Where the time comes from."""
    chance: Callable[[], float] = random.random
    """A number from 0 to 1 for the jitter."""
    shared: SharedStore | None = None
    """The store that a fleet of processes shares; None keeps the circuit in this process."""

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        for name in ("failure_types", "ignored_types"):
            kinds = getattr(self, name)
            legal = all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds)
            require(legal, name, kinds, "a tuple of Exception classes")

    def __str__(self) -> str:
        """Return the options that are not the defaults, for messages."""
        told = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if getattr(self, option.name) != option.default
        ]
        return ", ".join(told) or "the default options"


class BreakerKeywords(TypedDict, total=False):
    """The options as keywords; those of ``BreakerOptions`` without the two that are named in the signatures."""

    rules: Sequence[Rule]
    success_threshold: int
    trial_calls: int | None
    half_open_permits: int
    probe_timeout: float | None
    backoff: Backoff | None
    mode: Mode
    failure_types: tuple[type[Exception], ...]
    ignored_types: tuple[type[Exception], ...]
    is_failure: Callable[[Exception], bool] | None
    is_failed_result: Callable[[Any], bool] | None
    open_time_of: Callable[[Any], float | None] | None
    hook: Hook
    clock: Clock
    chance: Callable[[], float]
    shared: SharedStore | None
