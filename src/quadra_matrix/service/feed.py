"""Follows the event log once for all readers of a process: the newest events in memory, older ones from the log."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.service.messages import message
from quadra_matrix.store import JobEvent, JobLog

log = logging.getLogger(__name__)

BETWEEN_LOOKS = 0.1
"""Seconds between two looks at a log that had nothing new."""

AFTER_A_FAILURE = 1.0
"""Seconds before the next look at a log that could not be read."""

KEPT = 1000
"""Newest events held in memory; a reader that is further behind reads from the log."""

PAGE = 500
"""Most events of one look."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and the text that every reader of it gets."""

    sequence: int
    job: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and the sequence up to which the reader has now seen everything it asked for."""

    events: Sequence[Told]
    seen: int


class Feed:
    """The log as many readers see it. Lives in one event loop."""

    def __init__(self, events: JobLog) -> None:
        self._log = events
        self._newest: list[Told] = []
        self._complete_after = 0
        """``_newest`` holds every event above this sequence."""
        self._latest = 0
        self._news = asyncio.Event()

    @property
    def latest(self) -> int:
        """The highest sequence that this feed has seen."""
        return self._latest

    async def start(self) -> None:
        """Begin at the end of the log; what is older is read from it when somebody asks."""
        self._latest = self._complete_after = await asyncio.to_thread(self._log.latest)

    async def follow(self) -> None:
        """Read the log until cancelled; one that cannot be read is tried again."""
        while True:
            try:
                fresh = await asyncio.to_thread(self._log.read, self._latest, limit=PAGE)
            except Exception:  # the edge of the task: readers wait while the database restarts
                log.exception("the event log could not be read; trying again in %s s", AFTER_A_FAILURE)
                await asyncio.sleep(AFTER_A_FAILURE)
                continue
            if fresh:
                self._take(fresh)
            else:
                await asyncio.sleep(BETWEEN_LOOKS)

    def _take(self, fresh: Sequence[JobEvent]) -> None:
        """Keep new events, forget the oldest, wake every reader."""
        self._newest += [_told(event) for event in fresh]
        if len(self._newest) > 2 * KEPT:  # in bulk, so that forgetting costs nothing per event
            self._complete_after = self._newest[-KEPT - 1].sequence
            self._newest = self._newest[-KEPT:]
        self._latest = fresh[-1].sequence
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, sequence: int, job: str | None) -> Page:
        """Return the next events above ``sequence``, of one job or of all; wait while there is nothing new."""
        while sequence >= self._latest:
            await self._news.wait()
        if sequence >= self._complete_after:
            start = bisect_right(self._newest, sequence, key=lambda told: told.sequence)
            return Page([told for told in self._newest[start:] if job in {None, told.job}], self._latest)
        seen = self._latest
        found = await asyncio.to_thread(self._log.read, sequence, job=job, limit=PAGE)
        if len(found) == PAGE:
            seen = found[-1].sequence
        elif found:  # the log may have grown since: whatever it answered is seen too
            seen = max(seen, found[-1].sequence)
        return Page([_told(event) for event in found], seen)


def _told(event: JobEvent) -> Told:
    """Return the event with its text."""
    return Told(event.sequence, event.job, message(event).text())
