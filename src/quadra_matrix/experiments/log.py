"""The event log: what requests append to without waiting, and one thread that makes it durable in groups."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import EventsNotDurable, require
from quadra_matrix.events import Event, Hook, ignore
from quadra_matrix.events.experiments import ExperimentLogRecovered, ExperimentLogStalled
from quadra_matrix.experiments.serve import Cell

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_WAITING = 1_000_000
"""Events of a kind that wait in memory while the disk is full; later ones are dropped and counted."""

COMMIT_EVERY = 0.02
"""Seconds in which events gather before a group is written, unless somebody waits for it."""

RETRY_EVERY = 1.0
"""Seconds between attempts while writing fails."""

FLUSH_WITHIN = 10.0
"""Seconds that a flush waits, also the one at the end of the process."""

Exposure = tuple[float, Cell, str, float | None]
"""Time, what it counts for, unit, covariate. A tuple: a million of them may wait, and each is made in a request."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """One value of one metric. All values of one conversion share ``event_id``; a repeated id counts once."""

    at: float
    """Seconds since the epoch."""
    event_id: str
    experiment: str
    phase: int
    variant: str
    unit: str | None
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are made durable together."""

    exposures: Sequence[Exposure]
    conversions: Sequence[Conversion]

    def __len__(self) -> int:
        return len(self.exposures) + len(self.conversions)


class Sink(Protocol):
    """Where events last."""

    def write(self, batch: Batch) -> None:
        """Return once the batch is durable; raise ``OSError`` when it is not, having kept none or all of it."""

    def close(self) -> None:
        """Release what is open; the next write opens it again (also after a fork)."""


class EventLog:
    """A bounded queue before a sink. Appending never blocks; may be shared between threads, and survives a fork."""

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook = ignore,
        most_waiting: int = MOST_WAITING,
        commit_every: float = COMMIT_EVERY,
        retry_every: float = RETRY_EVERY,
    ) -> None:
        require(most_waiting > 0, "most_waiting", most_waiting, "above 0")
        self._sink, self._clock, self._hook = sink, clock, hook
        self._most, self._commit_every, self._retry_every = most_waiting, commit_every, retry_every
        self._reset()
        os.register_at_fork(after_in_child=partial(_restart_after_fork, weakref.ref(self)))
        weakref.finalize(self, _close_quietly, weakref.ref(self))

    def _reset(self) -> None:
        """Start empty and without a thread: at first, and in a child process, whose parent writes what waited."""
        self._exposures: deque[Exposure] = deque()
        self._conversions: deque[Conversion] = deque()
        self._failed: Batch | None = None
        self._reason = ""
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._closed = False
        self._wake = threading.Event()
        self._cycles = threading.Condition()
        self._begun = self._ended = self._durable = self._waiters = 0

    def expose(self, exposure: Exposure) -> None:
        """Append an exposure; it is durable within milliseconds, or when the log works again."""
        waiting = self._exposures
        if len(waiting) >= self._most:
            self._drop(1)
            return
        waiting.append(exposure)
        if self._asleep:
            self._rouse()

    def convert(self, conversions: Sequence[Conversion]) -> None:
        """Append the values of a conversion."""
        waiting = self._conversions
        if len(waiting) + len(conversions) > self._most:
            self._drop(len(conversions))
            return
        waiting.extend(conversions)
        if self._asleep:
            self._rouse()

    @property
    def waiting(self) -> int:
        """Events that are not durable yet."""
        return len(self._exposures) + len(self._conversions) + len(self._failed or ())

    @property
    def dropped(self) -> int:
        """Events lost since the last recovery because memory was full."""
        return self._dropped

    @property
    def stalled(self) -> str:
        """Why writing fails at the moment; empty when it works."""
        return self._reason

    def flush(self, within: float = FLUSH_WITHIN) -> None:
        """Return once everything appended before is durable; raise ``EventsNotDurable`` after ``within`` seconds.

        Callers that wait at the same time share one group, and so one sync. While writing fails, one attempt is made.
        """
        with self._cycles:
            if not self.waiting and self._begun == self._ended:
                return
            # A group under way may have been gathered before our events came; the next one holds them.
            wanted = self._begun + 1
            self._waiters += 1
        self._rouse()
        with self._cycles:
            self._cycles.wait_for(lambda: self._ended >= wanted, within)
            self._waiters -= 1
            if self._durable < wanted:
                raise EventsNotDurable(self.waiting, self._reason or f"no answer within {within:g} s")

    def close(self, within: float = FLUSH_WITHIN) -> None:
        """Flush, stop the thread and close the sink; later appends start it again."""
        try:
            self.flush(within)
        finally:
            self._closed = True
            self._wake.set()
            if self._thread is not None:
                self._thread.join(within)
            self._sink.close()
            self._thread, self._closed, self._asleep = None, False, True

    def _drop(self, events: int) -> None:
        """Count events that find no room; the first of them is said in the log."""
        if not self._dropped:
            log.error("experiment events are dropped: %d wait to be written (%s)", self.waiting, self._reason)
        self._dropped += events

    def _rouse(self) -> None:
        """Let the thread write; start it at the first event of the process."""
        if self._thread is None:
            with self._cycles:
                if self._thread is None:
                    self._thread = threading.Thread(target=_serve, args=(self,), name="experiment-log", daemon=True)
                    self._thread.start()
        self._wake.set()

    def _gather(self) -> Batch:
        """Take what waits, behind what failed. Counted first: appends go on meanwhile, and one by one loses none."""
        failed = self._failed
        if failed is None:
            return Batch(_take(self._exposures, self._most), _take(self._conversions, self._most))
        return Batch(
            [*failed.exposures, *_take(self._exposures, self._most - len(failed.exposures))],
            [*failed.conversions, *_take(self._conversions, self._most - len(failed.conversions))],
        )

    def _cycle(self) -> None:
        """Write one group and tell those who wait."""
        with self._cycles:
            self._begun += 1
        batch = self._gather()
        event: Event | None = None
        try:
            if len(batch):
                self._sink.write(batch)
        except OSError as failed:
            event = self._stall(batch, str(failed))
        else:
            event = self._recover(batch)
        with self._cycles:
            self._ended = self._begun
            if not self._reason:
                self._durable = self._begun
            self._cycles.notify_all()
        if event is not None:
            self._hook(event)

    def _stall(self, batch: Batch, reason: str) -> Event | None:
        """Keep what could not be written; the first failure in a row is an event."""
        first = not self._reason
        self._failed, self._reason = batch, reason
        if not first:
            return None
        log.error("experiment events cannot be written and wait in memory: %s", reason)
        return ExperimentLogStalled(reason, self.waiting)

    def _recover(self, batch: Batch) -> Event | None:
        """Forget what is written; the first success after a failure is an event."""
        if not self._reason:
            return None
        event = ExperimentLogRecovered(len(batch), self._dropped)
        self._failed, self._reason, self._dropped = None, "", 0
        log.warning("experiment events are written again; %d were dropped", event.dropped)
        return event

    def _turn(self) -> None:
        """Wait until there is something to do, then do it."""
        if self._reason:
            self._rest(self._retry_every)
        elif self.waiting:
            self._rest(self._commit_every)
        else:
            self._wake.clear()
            self._asleep = True
            if not self.waiting and not self._waiters and not self._closed:  # nothing came before we said asleep
                self._wake.wait()
            self._asleep = False
        self._cycle()

    def _rest(self, seconds: float) -> None:
        """Let events gather, unless somebody waits for them."""
        self._wake.clear()
        if not self._waiters and not self._closed:
            self._wake.wait(seconds)


def _take(waiting: deque[T], most: int) -> list[T]:
    """Remove and return what waits now, oldest first."""
    return [waiting.popleft() for _ in range(min(len(waiting), most))]


def _serve(events: EventLog) -> None:
    """Write groups until the log closes: the body of its thread."""
    while not events._closed:
        try:
            events._turn()
        except Exception:  # the edge of the thread: a bug in a sink or a hook must not end all writing
            log.exception("writing experiment events failed")


def _restart_after_fork(log_of: weakref.ref[EventLog]) -> None:
    """Make the copy of a log in a child process start empty."""
    events = log_of()
    if events is not None:
        events._reset()
        events._sink.close()


def _close_quietly(log_of: weakref.ref[EventLog]) -> None:
    """Flush at the end of the process; what cannot be written is said in the log."""
    events = log_of()
    if events is None:
        return
    try:
        events.close()
    except EventsNotDurable as lost:
        log.error("the process ends and experiment events are lost: %s", lost)
