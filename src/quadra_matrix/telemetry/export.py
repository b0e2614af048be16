"""A bounded queue and one thread that sends what it holds: whatever the receiver does, the work never waits for it."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from quadra_matrix.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

Send = Callable[[Sequence[T]], None]
"""Delivers a batch; raises ``NotDelivered``, or anything else, if it did not."""

TRIES = 5
"""Attempts before a batch is given up, seconds apart; the queue fills meanwhile."""
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts at a receiver that does not answer; each pause is twice the one before."""


class NotDelivered(Exception):
    """A receiver did not take a batch."""

    def __init__(self, reason: str, *, may_retry: bool) -> None:
        super().__init__(reason)
        self.may_retry = may_retry


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of everything that this process handed in."""

    sent: int = 0
    dropped: int = 0
    waiting: int = 0


Report = Callable[[str, int], None]
"""Told an outcome, ``sent`` or ``dropped``, and how many; on the exporting thread."""


def no_report(outcome: str, number: int) -> None:
    """Tell nobody."""


class ExportQueue(Generic[T]):
    """Hands items to ``send`` in batches, on a thread that starts with the first item. May be shared between threads.

    ``put`` never waits for the receiver: an item that finds the queue full is dropped and counted. A forked child
    starts with an empty queue and its own thread; what the parent had queued, the parent sends.
    """

    _changed: threading.Condition
    _items: deque[T]
    _thread: threading.Thread | None
    _accepted: int
    _sent: int
    _lost: int
    """Items of batches that were given up."""
    _dropped: int
    """Items that found the queue full."""

    def __init__(
        self,
        send: Send[T],
        *,
        limit: int = 2048,
        batch: int = 512,
        delay: float = 5.0,
        report: Report = no_report,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._send, self._limit, self._batch, self._delay = send, limit, batch, delay
        self._report, self._clock = report, clock
        self._renew()
        again = weakref.WeakMethod(self._renew)
        os.register_at_fork(after_in_child=lambda: (renew := again()) and renew())

    def put(self, item: T) -> None:
        """Queue ``item``, or drop and count it if the queue is full or closed."""
        with self._changed:
            if len(self._items) >= self._limit or self._is_closed:
                self._dropped += 1
                return
            self._items.append(item)
            self._accepted += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="quadra-export", daemon=True)
                self._thread.start()
            elif len(self._items) == self._batch:
                self._changed.notify_all()

    def flush(self, seconds: float = 2.0) -> bool:
        """Tell whether all that is queued now was delivered within ``seconds``; never wait longer."""
        with self._changed:
            target, lost = self._accepted, self._lost
            self._hurry = target
            self._changed.notify_all()
            is_done = self._changed.wait_for(lambda: self._sent + self._lost >= target, seconds)
            return is_done and self._lost == lost

    def close(self, seconds: float = 2.0) -> bool:
        """Flush once within ``seconds``, then take nothing more; tell whether all was delivered. May be repeated."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._changed:
            return self._sent == self._accepted

    @property
    def exported(self) -> Exported:
        """Return the counts of this process."""
        with self._changed:
            waiting = self._accepted - self._sent - self._lost
            return Exported(self._sent, self._dropped + self._lost, waiting)

    def _renew(self) -> None:
        """Begin with nothing: at the start, and in a forked child, where no thread lives and a lock may be held."""
        # Reentrant: a span that the garbage collector ends may be put while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())
        self._items = deque()
        self._thread = None
        self._accepted = self._sent = self._lost = self._dropped = self._reported = self._hurry = 0
        self._is_closed = self._is_down = False

    def _work(self) -> None:
        while batch := self._next_batch():
            is_sent = self._deliver(batch)
            with self._changed:
                if is_sent:
                    self._sent += len(batch)
                else:
                    self._lost += len(batch)
                dropped = self._dropped + self._lost
                self._changed.notify_all()
            self._tell(len(batch) if is_sent else 0, dropped)

    def _next_batch(self) -> list[T]:
        """Return what to send next, once enough waits or time has passed; nothing after ``close``."""
        with self._changed:
            self._changed.wait_for(self._is_due, self._delay)
            while not self._items and not self._is_closed:
                self._changed.wait(self._delay)
            return [self._items.popleft() for _ in range(min(self._batch, len(self._items)))]

    def _is_due(self) -> bool:
        is_asked_for = self._sent + self._lost < self._hurry
        return len(self._items) >= self._batch or is_asked_for or self._is_closed

    def _deliver(self, batch: Sequence[T]) -> bool:
        """Send a batch, again after a pause where that may help; tell whether it arrived."""
        pause = SHORTEST_PAUSE
        for attempt in range(1, TRIES + 1):
            try:
                self._send(batch)
            except NotDelivered as failed:
                self._note_failure(str(failed))
                if attempt == TRIES or not failed.may_retry or not self._pause(pause):
                    return False
            except Exception:  # the edge of a thread: a broken receiver must not end the export
                log.exception("telemetry cannot be sent")
                return False
            else:
                self._note_success()
                return True
            pause = min(LONGEST_PAUSE, 2 * pause)
        return False

    def _pause(self, seconds: float) -> bool:
        """Wait before another attempt; a flush cuts it short. Tell whether there should be one."""
        with self._changed:
            hurry = self._hurry
            self._changed.wait_for(lambda: self._is_closed or self._hurry > hurry, seconds)
            return not self._is_closed

    def _note_failure(self, reason: str) -> None:
        """Say once that the receiver is away: a line for each failure would bury the rest of the log."""
        if not self._is_down:
            self._is_down = True
            log.warning("telemetry is not delivered: %s; what cannot wait is dropped and counted", reason)

    def _note_success(self) -> None:
        if self._is_down:
            self._is_down = False
            log.info("telemetry is delivered again; %d were dropped", self.exported.dropped)

    def _tell(self, sent: int, dropped: int) -> None:
        """Report what is new since the last report."""
        lost, self._reported = dropped - self._reported, dropped
        for outcome, number in (("sent", sent), ("dropped", lost)):
            if number:
                try:
                    self._report(outcome, number)
                except Exception:  # the edge of a hook: counting must not end the export
                    log.exception("the export could not be counted")
