"""Signals that end an experiment: remembered, so that its faults are lifted in order and never twice at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupt:
    """Whether a run was asked to end. Any thread may ask."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that arrived."""

    def ask(self, number: int = signal.SIGINT) -> None:
        """Ask the run to end; asking again changes nothing."""
        self.signal = self.signal or number

    @property
    def is_asked(self) -> bool:
        """Tell whether the run should end."""
        return self.signal is not None


@contextmanager
def signals(interrupt: Interrupt) -> Iterator[None]:
    """Turn the signals that end a program into requests to end the run. Main thread only."""

    def remember(number: int, frame: FrameType | None) -> None:
        interrupt.ask(number)

    before = {number: signal.signal(number, remember) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
