"""Take faults back until they are read as gone: what the engine, the janitor and the next start all do."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable
from dataclasses import replace

from quadra_matrix.chaos.journal import Entry, Journal
from quadra_matrix.chaos.undo import Undo
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import FaultRemains

log = logging.getLogger(__name__)

DEADLINE = 10.0
"""Seconds in which a fault has to be gone."""
FAILURES = (OSError, subprocess.SubprocessError)
"""What an undo may raise and be tried again."""


def take_back(undos: Iterable[Undo], *, within: float = DEADLINE, clock: Clock = SYSTEM_CLOCK) -> tuple[Undo, ...]:
    """Carry out undos from the last to the first and return those that could not be confirmed in time."""
    deadline = clock.monotonic() + within
    left = [undo for undo in reversed(tuple(undos)) if not _is_gone(undo)]
    wait = 0.001
    while left and clock.monotonic() < deadline:
        clock.sleep(wait)
        wait = min(2 * wait, 0.1)
        left = [undo for undo in left if not _is_gone(undo)]
    return tuple(reversed(left))


def mend(journal: Journal, entry: Entry, *, within: float = DEADLINE, clock: Clock = SYSTEM_CLOCK) -> tuple[Undo, ...]:
    """Take back what a run left and keep in the journal what could not be."""
    left = take_back(entry.undos, within=within, clock=clock)
    journal.write(replace(entry, undos=left))
    return left


def mend_abandoned(journal: Journal, clock: Clock = SYSTEM_CLOCK) -> tuple[str, ...]:
    """Take back what dead runs left and return their names. Raises ``FaultRemains``: nobody may add faults to those."""
    mended = []
    for entry in journal.abandoned():
        left = mend(journal, entry, clock=clock)
        if left:
            raise FaultRemains(entry.run, [undo.by_hand() for undo in left])
        log.warning("took back %d faults that run %s had left", len(entry.undos), entry.run)
        mended.append(entry.run)
    return tuple(mended)


def _is_gone(undo: Undo) -> bool:
    """Take a fault back once and read at its source whether it is gone."""
    try:
        undo.apply()
        return undo.is_done()
    except FAILURES as failed:
        log.warning("could not take back %s: %s", undo, failed)
    except Exception:  # the edge to functions of users: whatever they raise, the other undos must still run
        log.exception("could not take back %s", undo)
    return False
