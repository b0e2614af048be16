"""Circuit breakers: stop calling a dependency that fails, and try again later.

``machine`` and ``window`` decide, ``guard`` is what users hold, ``wrap`` guards functions, ``keeper`` and ``fleet``
keep the state (alone, or shared through a store), ``registry`` finds breakers by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack

from quadra_matrix.breaker.guard import CircuitBreaker
from quadra_matrix.breaker.machine import Backoff, Mode, State
from quadra_matrix.breaker.options import BreakerKeywords, BreakerOptions
from quadra_matrix.breaker.outcome import RetryAfter
from quadra_matrix.breaker.registry import BREAKERS, Registry
from quadra_matrix.breaker.shared import SharedStore
from quadra_matrix.breaker.snapshot import Snapshot
from quadra_matrix.breaker.window import FailureCount, FailureRate, SlowCallRate
from quadra_matrix.errors import CircuitBreakerError

__all__ = [
    "BREAKERS",
    "Backoff",
    "BreakerOptions",
    "CircuitBreaker",
    "CircuitBreakerError",
    "FailureCount",
    "FailureRate",
    "Mode",
    "Registry",
    "RetryAfter",
    "SharedStore",
    "SlowCallRate",
    "Snapshot",
    "State",
    "circuit_breaker",
    "get_all_circuit_breaker_metrics",
]

P = ParamSpec("P")
R = TypeVar("R")


class Guard(Protocol):
    """What ``circuit_breaker`` returns: a decorator that keeps the function's type."""

    def __call__(self, func: Callable[P, R], /) -> Callable[P, R]:
        """Return ``func`` guarded."""


def circuit_breaker(
    name: str,
    failure_threshold: int | None = 5,
    recovery_timeout: float = 60.0,
    *,
    fallback: Callable[..., Any] | None = None,
    registry: Registry | None = BREAKERS,
    **options: Unpack[BreakerKeywords],
) -> Guard:
    """Guard a function by the breaker called ``name``; see ``BreakerOptions`` for the options.

    ``fallback`` answers in place of a refused call and takes the ``CircuitBreakerError`` or nothing.
    """
    breaker = CircuitBreaker(name, failure_threshold, recovery_timeout, registry=registry, **options)

    def guard(func: Callable[P, R], /) -> Callable[P, R]:
        return breaker(func, fallback=fallback)

    return guard


def get_all_circuit_breaker_metrics(registry: Registry = BREAKERS) -> dict[str, dict[str, Any]]:
    """Return the state and the counts of every breaker by name; times are UTC.

    ``total_requests`` are the calls that ran and said something; ``CircuitBreaker.snapshot`` tells the refused ones.
    """
    return {breaker.name: breaker.snapshot().as_promised() for breaker in registry}
