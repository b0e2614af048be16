"""Time as an argument: the only importer of ``time``."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What code that waits or measures asks for the time."""

    def now(self) -> float:
        """Return seconds since the epoch, UTC. For display and storage, never for durations."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start. It never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class SystemClock:
    """The machine's clocks. Stateless; may be shared between threads."""

    # Built-ins as attributes: a call through the instance costs no Python frame.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


SYSTEM_CLOCK = SystemClock()
"""The default of every ``clock=`` parameter."""

process_time = time.process_time
"""Seconds of processor time this process has used; for benchmarks and cost accounting."""
