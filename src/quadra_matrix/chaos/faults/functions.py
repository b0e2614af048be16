"""A failure that functions of the user's begin and end: stop a database, start it again.

The function that ends it lives in this process and cannot be stored. A keeper, forked before the fault, holds a copy:
when this process is gone however, the keeper calls it, again and again until it returns.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from quadra_matrix.chaos.dose import Dose, level
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.faults.watch import Watch
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import EndKeeper
from quadra_matrix.clock import Clock
from quadra_matrix.errors import FaultFailed
from quadra_matrix.pids import process_of

log = logging.getLogger(__name__)

AGAIN = 0.2
"""Seconds between two attempts to end a failure."""


@dataclass(frozen=True, slots=True)
class Functions:
    """Call ``begin`` to break something and ``end`` to mend it. Only from Python: a file cannot name it."""

    begin: Callable[[], object]
    end: Callable[[], object]
    """May be called twice, and by another process."""
    is_broken: Callable[[], bool] | None = None
    """Tells whether it is broken; without it nobody knows whether the fault arrived, and the report says so."""
    fault: Literal["functions"] = "functions"

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to leave the end to somebody else."""
        return None if hasattr(os, "fork") else "a system that can fork"

    def arm(self, scene: Scene) -> Armed:
        """Fork the keeper."""
        keeper = Keeper(self.end, scene.private, scene.clock)
        check = self.is_broken
        watch = Watch(lambda: 100.0 * bool(check and check()), scene.clock)

        def inject() -> None:
            try:
                self.begin()
            except Exception as failed:  # the edge to a function of a user's
                raise FaultFailed(self.fault, repr(failed)) from failed
            if check is not None:
                watch.start()

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            if check is None:
                return Dose("function called", "times", 1, 0, 1, detail="nobody checked whether it broke anything")
            return level("time broken", 100.0, watch.readings())

        def close() -> None:
            watch.stop()
            keeper.close()

        return Armed(keeper.undo, inject, measured, lift=lambda: self._lift(keeper), close=close)

    def _lift(self, keeper: Keeper) -> None:
        """Mend from within; where that fails the keeper goes on trying."""
        try:
            self.end()
        except Exception:  # the edge to a function of a user's
            log.exception("the function that ends the failure failed; its keeper tries again")
            return
        keeper.dismiss()


class Keeper:
    """A forked process that calls a function when its parent is gone, or on SIGTERM."""

    def __init__(self, end: Callable[[], object], private: Sequence[int], clock: Clock) -> None:
        reading, self._writing = os.pipe()
        with warnings.catch_warnings():
            # Python warns of threads that hold locks at a fork. This child runs one function of the user's.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            for handle in (self._writing, *private):  # the parent's end is told by their ends
                os.close(handle)
            _keep(reading, end, clock)
        os.close(reading)
        found = process_of(self._pid)
        self.undo = EndKeeper(self._pid, found.born if found else 0)

    def dismiss(self) -> None:
        """Let the keeper go without calling anything."""
        with suppress(BrokenPipeError, ChildProcessError):
            os.write(self._writing, b"x")
            os.waitpid(self._pid, 0)  # gone before anybody asks it to call the function once more

    def close(self) -> None:
        """Collect the keeper."""
        os.close(self._writing)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _keep(reading: int, end: Callable[[], object], clock: Clock) -> None:
    """Wait for the end of the parent, then mend. Never returns."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: _mend(end, clock))
        if os.read(reading, 1):
            os._exit(0)
        _mend(end, clock)
    finally:
        os._exit(1)


def _mend(end: Callable[[], object], clock: Clock) -> None:
    """Call the function until it returns. Never returns itself."""
    while True:
        try:
            end()
            sys.stdout.flush()
            os._exit(0)
        except Exception:  # the edge to a function of a user's
            log.exception("the function that ends the failure failed")
            clock.sleep(AGAIN)
