"""The keeper of a circuit that a fleet shares: every step is decided on the store's document, then followed here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from quadra_matrix.breaker.keeper import Count, Keeper, apply
from quadra_matrix.breaker.machine import Machine, Mode, Policy, State
from quadra_matrix.breaker.outcome import Outcome
from quadra_matrix.breaker.shared import Kept, SharedStore
from quadra_matrix.breaker.window import NEVER
from quadra_matrix.errors import SharedStateLost
from quadra_matrix.events import Event
from quadra_matrix.events.breaker import CircuitStoreFound, CircuitStoreLost

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_LOCAL = 1 << 60
"""Where the local machine's own numbers start: far above the store's, so that neither passes for the other."""

TRIES = 16
"""Attempts to be the one that writes, of two round trips each. In a storm that beats them all, a process goes alone."""

PATIENCE = 5
"""Intervals between two attempts to reach a store that is away."""


class FleetKeeper:
    """Follows the fleet's circuit; while the store is away the local machine decides alone."""

    def __init__(
        self, name: str, policy: Policy, store: SharedStore, *, machine: Machine, lock: threading.RLock,
        successes: Count, alone: Keeper, tell: Callable[[Event], None], chance: Callable[[], float],
    ) -> None:  # fmt: skip
        self._name, self._policy, self._store, self._machine, self._lock = name, policy, store, machine, lock
        self._successes, self._alone, self._tell, self._chance = successes, alone, tell, chance
        self._told = 0
        self._followed = 0
        self._is_alone = False
        self._refused_until = 0.0
        machine.look_at = 0.0

    def admit(self, now: float) -> int | None:
        """Return a ticket, or None to refuse the call."""
        machine = self._machine
        if now < machine.look_at and (self._is_alone or machine.era & 3 == State.CLOSED):
            return self._alone.admit(now)
        if machine.era & 3 == State.HALF_OPEN and now < self._refused_until:
            return None
        machine.look_at = now + self._store.interval  # at once: one caller looks, the others go on
        try:
            ticket = self._step(Machine.admit, now)
        except SharedStateLost as lost:
            self._go_alone(lost, now)
            return self._alone.admit(now)
        with self._lock:
            if ticket is None:
                self._refused_until = now + self._store.interval
            elif ticket != machine.era and machine.state is State.HALF_OPEN:
                machine.probes[ticket] = now
        return ticket

    def settle(self, ticket: int, outcome: Outcome, now: float, elapsed: float, open_for: float | None) -> bool:
        """Take in an outcome; return False if the ticket is stale."""
        if self._is_alone:
            return self._alone.settle(ticket, outcome, now, elapsed, open_for)
        machine = self._machine
        with self._lock:
            if not machine.is_current(ticket):
                return False
            if outcome is Outcome.NEITHER and ticket not in machine.probes:
                return True
        succeeded = outcome is Outcome.SUCCESS
        try:
            current = self._step(
                lambda fleet, at: apply(fleet, ticket, outcome, at, elapsed, open_for), now, successes=int(succeeded)
            )
        except SharedStateLost as lost:
            self._go_alone(lost, now)
            return self._alone.settle(ticket, outcome, now, elapsed, open_for)
        with self._lock:
            machine.release(ticket)
            self._refused_until = 0.0
            if current and succeeded:
                self._successes.tick()
                self._told += 1
        return current

    def override(self, mode: Mode | None, now: float) -> None:
        """Put the fleet's circuit under ``mode``; None resets it. Without the store, only this process's."""
        try:
            self._step(lambda fleet, at: fleet.reset(at) if mode is None else fleet.override(mode, at), now)
        except SharedStateLost as lost:
            self._go_alone(lost, now)
            self._alone.override(mode, now)

    def _step(self, decide: Callable[[Machine, float], T], now: float, *, successes: int = 0) -> T:
        """Let ``decide`` change the fleet's circuit, keep the change, and follow; no lock is held meanwhile."""
        untold = self._take_untold()
        for _ in range(TRIES):
            kept = self._store.read(self._name)
            fleet = self._restored(kept, untold + successes, now)
            before = fleet.dump()
            if untold and fleet.state is State.CLOSED:
                fleet.succeed(fleet.era, kept.now)
            answer = decide(fleet, kept.now)
            after = fleet.dump()
            # Successes matter to a window of calls, and to a row of failures only if there is one.
            is_news = kept.document is None or after != before or (untold > 0 and self._policy.rules)
            if not is_news:
                self._give_back(untold)
                break
            if self._store.swap(self._name, kept.version, after):
                break
        else:
            self._give_back(untold)
            raise SharedStateLost(type(self._store).__name__, f"other processes were faster {TRIES} times")
        self._come_back()
        self._follow(fleet, kept.now, now)
        return answer

    def _restored(self, kept: Kept, successes: int, now: float) -> Machine:
        """Return the fleet's circuit, with what this process's calls add to its successes."""
        document = kept.document
        if document is not None and document["era"] != self._machine.era:
            successes = 0  # they belong to an era that is over
        total = successes + (document["successes"] if document is not None else 0)
        fleet = Machine(
            self._policy, kept.now, successes=lambda: total, chance=self._chance, sequence=int(kept.now * 1000) * 4
        )
        if document is not None:
            fleet.load(document)
            return fleet
        # The store is new or lost everything: what this process knows must survive that.
        mine = self._machine
        if mine.mode is not fleet.mode:
            fleet.override(mine.mode, kept.now)
        elif mine.state is State.OPEN and mine.until != NEVER:
            fleet.open(kept.now, "the store was empty and this process held it open", max(0.0, mine.until - now))
        return fleet

    def _follow(self, fleet: Machine, at: float, now: float) -> None:
        """Bring the local machine to where the fleet is, unless a faster thread has brought it further."""
        because = fleet.moves[-1].because if fleet.moves else "another process of the fleet moved it"
        with self._lock:
            if fleet.sequence < self._followed:
                return
            self._followed = fleet.sequence
            if fleet.era != self._machine.era:
                self._told = self._successes.read()
            self._machine.mirror(fleet, shift=now - at, now=now, because=because)

    def _take_untold(self) -> int:
        """Return the successes that the store has not heard of, and take them as told."""
        with self._lock:
            total = self._successes.read()
            untold, self._told = total - self._told, total
            return untold

    def _give_back(self, untold: int) -> None:
        """Undo ``_take_untold``: nothing was written."""
        with self._lock:
            self._told -= untold

    def _go_alone(self, lost: SharedStateLost, now: float) -> None:
        """Decide by what this process sees; say so once."""
        self._machine.look_at = now + PATIENCE * self._store.interval
        with self._lock:
            first, self._is_alone = not self._is_alone, True
        if first:
            log.warning("circuit %s decides alone: %s", self._name, lost)
            self._tell(CircuitStoreLost(self._name, lost.reason))

    def _come_back(self) -> None:
        """Follow the fleet again; say so once."""
        with self._lock:
            was_alone, self._is_alone = self._is_alone, False
        if was_alone:
            log.warning("circuit %s follows the fleet again", self._name)
            self._tell(CircuitStoreFound(self._name))
