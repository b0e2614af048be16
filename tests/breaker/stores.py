"""A store of shared circuits in memory, with a clock of its own and a plug to pull. May be shared between threads."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping
from typing import Any

from quadra_matrix.breaker.shared import Kept
from quadra_matrix.errors import SharedStateLost
from quadra_matrix.testing import FakeClock


class MemoryStore:
    """Keeps documents as JSON text, as a real store does."""

    def __init__(self, clock: FakeClock, *, interval: float = 1.0) -> None:
        self.interval = interval
        self.is_away = False
        self.trips = 0
        self._clock = clock
        self._kept: dict[str, tuple[str, str]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def read(self, name: str) -> Kept:
        self._answer()
        with self._lock:
            version, text = self._kept.get(name, ("", ""))
        # Its time is not the process's: only differences may matter.
        return Kept(self._clock.monotonic() + 5e8, version, json.loads(text) if text else None)

    def swap(self, name: str, version: str, document: Mapping[str, Any]) -> bool:
        self._answer()
        with self._lock:
            if self._kept.get(name, ("", ""))[0] != version:
                return False
            self._kept[name] = (str(next(self._versions)), json.dumps(document, allow_nan=False))
            return True

    def forget_everything(self) -> None:
        """Start again empty, as a server without a disk."""
        with self._lock:
            self._kept.clear()

    def _answer(self) -> None:
        self.trips += 1
        if self.is_away:
            raise SharedStateLost("memory", "the plug is pulled")
