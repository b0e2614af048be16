"""The circuit breaker users hold: it admits calls, takes their outcomes in, and tells what changed."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack

from quadra_matrix.breaker import fork, wrap
from quadra_matrix.breaker.fleet import FIRST_LOCAL, FleetKeeper
from quadra_matrix.breaker.keeper import Count, Keeper, LocalKeeper
from quadra_matrix.breaker.machine import Machine, Mode, State, Transition
from quadra_matrix.breaker.options import BreakerKeywords, BreakerOptions
from quadra_matrix.breaker.outcome import Outcome, is_true, outcome_of
from quadra_matrix.breaker.registry import BREAKERS, Registry
from quadra_matrix.breaker.snapshot import Snapshot
from quadra_matrix.breaker.window import NEVER
from quadra_matrix.errors import CircuitBreakerError, require
from quadra_matrix.events import Event, fan_out
from quadra_matrix.events.breaker import CircuitClosed, CircuitHalfOpened, CircuitOpened, CircuitOverridden

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

OPEN, SHADOW = int(State.OPEN), Mode.SHADOW
"""Looked up once: a member of an enum costs a look-up in its class each time."""

SPARED = -2
"""Ticket of a call that shadow mode let through although the rules refused it."""

_entered: ContextVar[tuple[tuple[int, int, float], ...]] = ContextVar("entered")
"""The ``with`` blocks this task is in: identity of the breaker, ticket, start."""


class CircuitBreaker:
    """Stops calling a dependency that fails, and tries again later. May be shared between threads and tasks.

    ``CircuitBreaker(name)`` returns the breaker of that name if the registry holds one, as ``zoneinfo.ZoneInfo`` does;
    other options for the same name raise ``CircuitConflict``. With ``registry=None`` it is always a new one.
    """

    __slots__ = (
        "__weakref__", "_cause", "_delivering", "_failed", "_has_time_window", "_ignored", "_keeper", "_last",
        "_last_at", "_late", "_lock", "_monotonic", "_moved", "_news", "_registry", "_reject", "_rejected", "_slow",
        "_slow_after", "_spared", "_stale", "_successes", "machine", "name", "options", "tick",
    )  # fmt: skip

    def __new__(
        cls,
        name: str,
        failure_threshold: int | None = 5,
        recovery_timeout: float = 60.0,
        *,
        registry: Registry | None = BREAKERS,
        **options: Unpack[BreakerKeywords],
    ) -> Self:
        """Return the breaker called ``name``; see ``BreakerOptions`` for the options."""
        require(isinstance(name, str) and name != "", "name", name, "a string that is not empty")
        chosen = BreakerOptions(failure_threshold, recovery_timeout, **options)
        if registry is None:
            return cls._made(name, chosen, None)
        return registry.claim(name, chosen, lambda: cls._made(name, chosen, registry), cls)

    @classmethod
    def _made(cls, name: str, options: BreakerOptions, registry: Registry | None) -> Self:
        """Build a breaker."""
        breaker = super().__new__(cls)
        breaker._build(name, options, registry)
        return breaker

    def _build(self, name: str, options: BreakerOptions, registry: Registry | None) -> None:
        """Set every attribute."""
        self.name, self.options, self._registry = name, options, registry
        self._monotonic = options.clock.monotonic
        self._slow_after, self._has_time_window = options.slow_after, options.has_time_window
        self._successes, self._late, self._failed, self._ignored = Count(), Count(), Count(), Count()
        self.tick = self._successes.tick
        self._slow, self._rejected, self._spared, self._stale = Count(), Count(), Count(), Count()
        self._moved = {State.CLOSED: 0, State.OPEN: 0, State.HALF_OPEN: 0}
        self._reject = self._rejected.tick
        self._cause: BaseException | None = None
        self._last: object = None
        self._last_at: float | None = None
        self._news: deque[Event] = deque()
        self._delivering = False
        # Reentrant: a signal handler or a finalizer may call a guarded function while this thread holds the lock.
        self._lock = threading.RLock()
        shared = options.shared
        self.machine = Machine(
            options, self._monotonic(), successes=self._successes.read, chance=options.chance,
            sequence=0 if shared is None else FIRST_LOCAL,
        )  # fmt: skip
        self._keeper: Keeper = LocalKeeper(self.machine, self._lock, self._successes)
        if shared is not None:
            self._keeper = FleetKeeper(
                name, options, shared, machine=self.machine, lock=self._lock, successes=self._successes,
                alone=self._keeper, tell=self._tell, chance=options.chance,
            )  # fmt: skip
        fork.remember(self)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state}>"

    # What users call

    def __call__(self, func: Callable[P, R], *, fallback: Callable[..., R] | None = None) -> Callable[P, R]:
        """Return ``func`` guarded: same nature, name, signature and type. Usable as a decorator.

        ``fallback`` answers in place of a refused call; it takes the ``CircuitBreakerError`` or nothing, and may be a
        coroutine function where ``func`` is one. Raises ``InvalidValue`` for what cannot be guarded.
        """
        return wrap.guarded(self, func, fallback)

    def call(self, func: Callable[..., R], *args: Any, fallback: Callable[..., Any] | None = None, **kwargs: Any) -> R:
        """Call ``func`` under the breaker and return its result, or that of ``fallback`` if the call is refused.

        A coroutine function gives an awaitable, a generator function a generator: each asks the breaker when it starts.
        """
        if wrap.nature_of(func) is not wrap.Nature.PLAIN:
            return wrap.guarded(self, func, fallback, specialise=False)(*args, **kwargs)
        try:
            ticket, began = self.begin()
        except CircuitBreakerError as refused:
            if fallback is None:
                raise
            answer: R = wrap.serve(fallback, refused)
            return answer
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self.bad(ticket, error, self._since(began))
            raise
        self.finish(ticket, result, self._since(began))
        return result

    def __enter__(self) -> Self:
        ticket, began = self.begin()
        _entered.set((*_entered.get(()), (id(self), ticket, began)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack = _entered.get(())
        place = max(at for at, entry in enumerate(stack) if entry[0] == id(self))
        _entered.set(stack[:place] + stack[place + 1 :])
        _, ticket, began = stack[place]
        if error is None:
            self.good(ticket, self._since(began))
        else:
            self.bad(ticket, error, self._since(began))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def state(self) -> str:
        """Return ``closed``, ``open`` or ``half_open``; an open circuit stays open until a caller comes."""
        return self.machine.state.label

    @property
    def mode(self) -> Mode:
        """Return who decides the state."""
        return self.machine.mode

    def force_open(self) -> None:
        """Refuse every call until ``close`` or ``reset``."""
        self._override(Mode.FORCED_OPEN)

    def disable(self) -> None:
        """Let every call through and judge none."""
        self._override(Mode.DISABLED)

    def shadow(self) -> None:
        """Judge every call and refuse none: events and ``spared`` tell what would have happened."""
        self._override(Mode.SHADOW)

    def close(self) -> None:
        """Close the circuit and hand it to its rules; the growth of the open time is kept."""
        self._override(Mode.AUTOMATIC)

    def reset(self) -> None:
        """Close the circuit, hand it to its rules and forget every earlier opening. Counts of metrics go on."""
        self._override(None)

    def snapshot(self) -> Snapshot:
        """Return the state and every count."""
        now = self._monotonic()
        with self._lock:
            machine, moved = self.machine, self._moved
            last_at = None if self._last_at is None else self.options.clock.now() - (now - self._last_at)
            return Snapshot(
                name=self.name, state=machine.state.label, mode=str(machine.mode),
                successes=self._successes.read() + self._late.read(), failures=self._failed.read(),
                ignored=self._ignored.read(), slow=self._slow.read(), rejected=self._rejected.read(),
                spared=self._spared.read(), stale=self._stale.read(), opened=moved[State.OPEN],
                half_opened=moved[State.HALF_OPEN], closed=moved[State.CLOSED],
                seconds_in_state=now - machine.changed_at,
                retry_after=None if machine.state is State.CLOSED else machine.retry_after(now),
                last_failure=None if self._last_at is None else repr(self._last),
                last_failure_at=None if last_at is None else datetime.fromtimestamp(last_at, UTC),
            )  # fmt: skip

    # The two steps that wrappers are made of

    def begin(self) -> tuple[int, float]:
        """Return the ticket of a call and its start, or raise ``CircuitBreakerError``.

        For calls that no function wraps: end each with ``finish``, ``good`` or ``bad`` and the same ticket.
        """
        machine = self.machine
        ticket = machine.era
        if ticket & 3 or (machine.look_at < NEVER and self._monotonic() >= machine.look_at):
            ticket = self.admit()
        return ticket, self._monotonic() if self._slow_after < NEVER else 0.0

    def admit(self) -> int:
        """Return the ticket of a call that does not find the circuit closed, or raise ``CircuitBreakerError``."""
        machine, now = self.machine, self._monotonic()
        until = machine.until
        # Read without the lock: a refusal must stay cheap when everybody is refused.
        if machine.era & 3 != OPEN or now >= until or now >= machine.look_at:
            ticket = self._keeper.admit(now)
            if machine.moves:
                self._announce()
            if ticket is not None:
                return ticket
            until = machine.until
        if machine.mode is SHADOW:
            self._spared.tick()
            return SPARED
        self._reject()
        # Raised where it is made: a variable that holds it would tie error, traceback and frame into a cycle.
        if machine.era & 3 == OPEN:
            raise CircuitBreakerError(self.name, "open", None if until == NEVER else until - now) from self._cause
        with self._lock:
            wait = machine.retry_after(now)
        raise CircuitBreakerError(self.name, "half_open", wait or 0.0) from self._cause

    def finish(self, ticket: int, result: object, elapsed: float = 0.0) -> None:
        """Take in a result; ``elapsed`` is the duration of the call in seconds."""
        judge = self.options.is_failed_result
        if judge is not None and is_true(judge, result, if_it_raises=False):
            self._settle_failure(ticket, result, elapsed)
            return
        is_calm = ticket == self.machine.calm and elapsed < self._slow_after
        if is_calm and not (self._has_time_window and self._monotonic() >= self.machine.turn):
            self.tick()
        else:
            self.good(ticket, elapsed)

    def good(self, ticket: int, elapsed: float = 0.0) -> None:
        """Take in a success."""
        machine = self.machine
        if elapsed >= self._slow_after:
            self._slow.tick()
        if ticket == SPARED:
            self._late.tick()
        elif not self._keeper.settle(ticket, Outcome.SUCCESS, self._monotonic(), elapsed, None):
            self._late.tick()
            self._stale.tick()
        if machine.moves:
            self._announce()

    def bad(self, ticket: int, error: BaseException, elapsed: float = 0.0) -> None:
        """Take in an exception."""
        if outcome_of(error, self.options) is Outcome.FAILURE:
            self._settle_failure(ticket, error, elapsed)
            return
        self._ignored.tick()
        self._keeper.settle(ticket, Outcome.NEITHER, 0.0, 0.0, None)

    def _settle_failure(self, ticket: int, answer: object, elapsed: float) -> None:
        """Take in a failure: an exception, or a result that counts as one."""
        now = self._monotonic()
        self._failed.tick()
        # One exception is kept, as a stored one pins the frames it went through.
        self._last, self._last_at = answer, now
        self._cause = answer if isinstance(answer, BaseException) else None
        if elapsed >= self._slow_after:
            self._slow.tick()
        told = self.options.open_time_of
        open_for = None if told is None else self._asked_open_time(told, answer)
        if ticket != SPARED and not self._keeper.settle(ticket, Outcome.FAILURE, now, elapsed, open_for):
            self._stale.tick()
        if self.machine.moves:
            self._announce()

    @staticmethod
    def _asked_open_time(told: Callable[[Any], float | None], answer: object) -> float | None:
        """Return the open time a failure asks for; a reader that raises is logged."""
        try:
            return told(answer)
        except Exception:  # the edge of a hook: it must not replace what the call returned or raised
            log.exception("open_time_of failed on %s", type(answer).__name__)
            return None

    def _since(self, began: float) -> float:
        """Return the seconds since ``began`` if a rule asks for them."""
        return self._monotonic() - began if self._slow_after < NEVER else 0.0

    def _override(self, mode: Mode | None) -> None:
        """Change the mode and tell."""
        self._keeper.override(mode, self._monotonic())
        self._announce()

    # News: queued under the lock, delivered outside it

    def _announce(self) -> None:
        """Queue the machine's transitions as events, in order, and deliver what is queued."""
        with self._lock:
            moves, self.machine.moves = self.machine.moves, []
            for move in moves:
                if move.before is not move.after:
                    self._moved[move.after] += 1
                self._news.append(_event_of(self.name, move))
        self._deliver()

    def _tell(self, event: Event) -> None:
        """Queue one event and deliver what is queued."""
        with self._lock:
            self._news.append(event)
        self._deliver()

    def _deliver(self) -> None:
        """Pass the queue to the hooks; one thread at a time, so that the order holds."""
        while True:
            with self._lock:
                if self._delivering or not self._news:
                    return
                self._delivering = True
                event = self._news.popleft()
            try:
                self._pass_on(event)
            finally:
                self._delivering = False

    def _pass_on(self, event: Event) -> None:
        """Give an event to the breaker's hook and to the registry's."""
        hooks = (self.options.hook, *(self._registry.hooks if self._registry is not None else ()))
        fan_out(*hooks)(event)

    # Around fork: a copied lock must be free and the state whole in the child

    def before_fork(self) -> None:
        """Wait until nobody changes the state."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on without the permits and news of threads that exist only in the parent."""
        self.machine.forget_probes()
        self.machine.moves.clear()
        self._news.clear()
        self._delivering = False
        self._lock.release()


def _event_of(name: str, move: Transition) -> Event:
    """Return the one event of a transition."""
    shadow = move.mode is Mode.SHADOW
    if move.by_operator:
        return CircuitOverridden(name, str(move.mode), move.after.label)
    if move.after is State.OPEN:
        return CircuitOpened(name, move.because, move.failures, move.open_for, shadow)
    if move.after is State.HALF_OPEN:
        return CircuitHalfOpened(name, move.because, shadow)
    return CircuitClosed(name, move.because, shadow)
