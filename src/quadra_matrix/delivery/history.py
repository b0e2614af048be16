"""How the serving version behaved lately, tick by tick: so its clumps of errors are known before a rollout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from quadra_matrix.delivery.counters import Reading, since, strayed
from quadra_matrix.delivery.judge import HISTORY
from quadra_matrix.delivery.ports import Evidence, Traffic
from quadra_matrix.errors import DeliveryError
from quadra_matrix.files import replace_file
from quadra_matrix.stats.arms import Counts

log = logging.getLogger(__name__)

TICK = 5.0
"""Seconds of a tick. With longer ticks in a plan the clumping is underestimated a little, with shorter ones over."""


class History:
    """The ticks in ``folder/history.json``: one writer, any number of readers."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history.json"

    def ticks(self) -> tuple[Counts, ...]:
        """Return the last half hour, oldest first; nothing where nothing was written or it cannot be read."""
        try:
            return tuple(Counts(int(total), int(events)) for total, events in json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError) as broken:
            log.warning("the history starts again: %s", broken)
            return ()

    def add(self, tick: Counts) -> None:
        """Write one more tick."""
        kept = [*self.ticks(), tick][-HISTORY:]
        replace_file(self._path, json.dumps([[one.total, one.events] for one in kept]).encode(), durable=False)


class Recorder:
    """Writes the history while one version has all the traffic. Not for several threads."""

    def __init__(self, history: History, traffic: Traffic, evidence: Evidence) -> None:
        self._history, self._traffic, self._evidence = history, traffic, evidence
        self._last: tuple[str, Reading] | None = None
        self._due = 0.0

    def look(self, now: float) -> None:
        """Add a tick where one is over; ``now`` are monotonic seconds."""
        if now < self._due:
            return
        self._due = now + TICK
        try:
            self._add()
        except (DeliveryError, OSError) as failed:
            log.debug("no tick of history: %s", failed)
            self._last = None

    def _add(self) -> None:
        shares = self._traffic.read().route.weights
        whole = [version for version, share in shares.items() if share == 100]
        if not whole:
            self._last = None
            return
        version, before = whole[0], self._last
        reading = self._evidence.read(version)
        self._last = version, reading
        if before is None or before[0] != version or strayed(before[1], reading):
            return
        counted = since(before[1], reading)
        if counted.requests:
            self._history.add(Counts(max(counted.requests, counted.errors), counted.errors))
