"""Count calls in buckets of this process or in shared ones, and go on when those are away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from quadra_matrix.access.heard import log_event
from quadra_matrix.access.limits import Decision, Direction, Rate, decide
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AccessUndecided, CircuitBreakerError, RedisUnavailable
from quadra_matrix.events import Hook
from quadra_matrix.events.access import SharedLimitsBack, SharedLimitsLost

T = TypeVar("T")

MOST_BUCKETS = 100_000
"""Buckets that one process keeps; some 20 MB."""

BETWEEN_LOOKS = 0.5
"""Seconds between two questions whether shared buckets are back."""

Asked = Sequence[tuple[str, Rate]]
"""The buckets of one call, by name, and their rates."""


class Buckets(Protocol):
    """Where buckets are kept. May be shared between threads."""

    def take(self, asked: Asked) -> Sequence[Decision]:
        """Take a token of each bucket, or of none; say what each said. Raises ``RedisUnavailable``."""


class SharedBuckets(Buckets, Protocol):
    """Buckets that processes share, and that can be away."""

    def ping(self) -> None:
        """Return when they answer; raise ``RedisUnavailable`` when they do not."""


class Guard(Protocol):
    """Calls a function, or refuses at once while it is known to fail: a circuit breaker."""

    def __call__(self, func: Callable[[], T], /) -> T:
        """Return what the function returns. Raises what it raises, or ``CircuitBreakerError``."""


class MemoryBuckets:
    """Buckets of this process. May be shared between threads."""

    def __init__(self, *, most: int = MOST_BUCKETS, clock: Clock = SYSTEM_CLOCK) -> None:
        self._full_at: dict[str, float] = {}
        self._most, self._clock = most, clock
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> Sequence[Decision]:
        """Take a token of each bucket, or of none; say what each said."""
        rates = [rate for _, rate in asked]
        with self._lock:
            now = self._clock.monotonic()
            after, said = decide([self._full_at.get(name, now) for name, _ in asked], rates, now)
            if all(each.is_allowed for each in said):
                self._full_at.update(zip((name for name, _ in asked), after, strict=True))
            if len(self._full_at) > self._most:
                self._forget(now)
        return said

    def _forget(self, now: float) -> None:
        """Drop the full buckets; if that is too few, those that are full soonest: they say least."""
        kept = sorted((full, name) for name, full in self._full_at.items() if full > now)
        self._full_at = {name: full for full, name in kept[-(self._most // 2) :]}


def straight(func: Callable[[], T], /) -> T:
    """Call the function: a guard that refuses nothing."""
    return func()


class Limiter:
    """Asks the shared buckets, or those of this process where there are none. May be shared between threads.

    A shared store that fails is not asked again by a request until a thread of its own has found it back: what it costs
    to wait for it is paid once by each request in flight. ``guard`` stands before it.
    """

    def __init__(
        self,
        local: Buckets,
        shared: SharedBuckets | None = None,
        *,
        guard: Guard = straight,
        hook: Hook = log_event,
        clock: Clock = SYSTEM_CLOCK,
        between_looks: float = BETWEEN_LOOKS,
    ) -> None:
        self._local, self._shared, self._guard = local, shared, guard
        self._hook, self._clock, self._between_looks = hook, clock, between_looks
        self._lock = threading.Lock()
        self._lost_at: float | None = None
        self._closed = threading.Event()

    @property
    def is_alone(self) -> bool:
        """Tell whether shared buckets are away."""
        return self._lost_at is not None

    def take(self, asked: Asked, direction: Direction = Direction.LOCAL) -> Sequence[Decision]:
        """Take a token of each bucket, or of none. Raises ``AccessUndecided`` where a limit fails closed.

        Nothing is said where a limit fails open.
        """
        shared = self._shared
        if shared is None:
            return self._local.take(asked)
        if self._lost_at is None:
            try:
                return self._guard(lambda: shared.take(asked))
            except (RedisUnavailable, CircuitBreakerError) as lost:
                self._lose(shared, str(lost))
        if direction is Direction.CLOSED:
            raise AccessUndecided("shared limits are away", retry_after=self._between_looks)
        return self._local.take(asked) if direction is Direction.LOCAL else ()

    def close(self) -> None:
        """Stop looking for shared buckets that are away."""
        self._closed.set()

    def _lose(self, shared: SharedBuckets, reason: str) -> None:
        with self._lock:
            if self._lost_at is not None:
                return
            self._lost_at = self._clock.monotonic()
        self._hook(SharedLimitsLost(reason))
        threading.Thread(target=self._look, args=(shared,), name="quadra-limits", daemon=True).start()

    def _look(self, shared: SharedBuckets) -> None:
        """Return once the shared buckets are back, or the limiter is closed."""
        while not self._closed.wait(self._between_looks):
            try:
                self._guard(shared.ping)
            except (RedisUnavailable, CircuitBreakerError):
                continue
            with self._lock:
                away = self._clock.monotonic() - (self._lost_at or 0.0)
                self._lost_at = None
            self._hook(SharedLimitsBack(away))
            return
