"""Who holds a circuit's state, and under which lock: a process on its own. See ``shared`` for a fleet."""

from __future__ import annotations

import itertools
import threading
from typing import Protocol

from quadra_matrix.breaker.machine import Machine, Mode
from quadra_matrix.breaker.outcome import Outcome

SUCCESS, FAILURE = Outcome.SUCCESS, Outcome.FAILURE
"""Looked up once: a member of an enum costs a look-up in its class each time."""


class Count:
    """A number that any thread raises without a lock: ``tick`` is one C call, which loses nothing under the GIL."""

    __slots__ = ("_reads", "tick")

    def __init__(self) -> None:
        self.tick = itertools.count().__next__
        self._reads = 0

    def read(self) -> int:
        """Return the number of ticks. Only one thread at a time may read."""
        value = self.tick() - self._reads
        self._reads += 1
        return value


class Keeper(Protocol):
    """The only way to a machine's decisions. May be shared between threads."""

    def admit(self, now: float) -> int | None:
        """Return a ticket, or None to refuse the call."""

    def settle(self, ticket: int, outcome: Outcome, now: float, elapsed: float, open_for: float | None) -> bool:
        """Take in an outcome; return False if the ticket is stale."""

    def override(self, mode: Mode | None, now: float) -> None:
        """Put the circuit under ``mode``; None resets it."""


def apply(machine: Machine, ticket: int, outcome: Outcome, now: float, elapsed: float, open_for: float | None) -> bool:
    """Let ``machine`` take an outcome in; return False, and change nothing, if the ticket is stale."""
    if outcome is FAILURE:
        return machine.fail(ticket, now, elapsed, open_for)
    if not machine.is_current(ticket):
        return False
    if outcome is SUCCESS:
        machine.succeed(ticket, now, elapsed)
    else:
        machine.release(ticket)
    return True


class LocalKeeper:
    """A circuit that lives in this process."""

    __slots__ = ("_lock", "_machine", "_successes")

    def __init__(self, machine: Machine, lock: threading.RLock, successes: Count) -> None:
        self._machine, self._lock, self._successes = machine, lock, successes

    def admit(self, now: float) -> int | None:
        """Return a ticket, or None to refuse the call."""
        with self._lock:
            return self._machine.admit(now)

    def settle(self, ticket: int, outcome: Outcome, now: float, elapsed: float, open_for: float | None) -> bool:
        """Take in an outcome; return False if the ticket is stale."""
        with self._lock:
            if outcome is SUCCESS and self._machine.is_current(ticket):
                self._successes.tick()
            return apply(self._machine, ticket, outcome, now, elapsed, open_for)

    def override(self, mode: Mode | None, now: float) -> None:
        """Put the circuit under ``mode``; None resets it."""
        with self._lock:
            if mode is None:
                self._machine.reset(now)
            else:
                self._machine.override(mode, now)
