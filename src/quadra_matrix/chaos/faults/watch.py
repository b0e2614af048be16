"""Read a level again and again while a fault is in place."""

from __future__ import annotations

import threading
from collections.abc import Callable

from quadra_matrix.clock import SYSTEM_CLOCK, Clock

EVERY = 0.1
"""Seconds between two readings."""


class Watch:
    """Readings of one level from ``start`` to ``stop``, on a thread of its own."""

    def __init__(self, read: Callable[[], float], clock: Clock = SYSTEM_CLOCK, *, every: float = EVERY) -> None:
        self._read, self._clock, self._every = read, clock, every
        self._readings: list[float] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._watch, name="chaos-watch", daemon=True)
        self._thread.start()

    def readings(self) -> list[float]:
        """Return what was read so far."""
        return list(self._readings)

    def stop(self) -> None:
        """Stop reading. May be called when nothing was ever read."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._readings.append(self._read())
            self._over.wait(self._every)
