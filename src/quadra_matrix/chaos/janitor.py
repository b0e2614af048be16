"""A process that takes every fault back when the one that put it in place is gone, hung or killed.

It reads orders from standard input, one JSON value a line: ``{"hold": undo}``, ``{"drop": undo}``, ``{}`` as a sign of
life. It answers each ``hold`` with a line, so that no fault begins before its undo is held. At the end of the input,
after silence longer than the lease, or on SIGTERM it takes everything back. Usage: ``janitor FOLDER RUN LEASE``.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from quadra_matrix.chaos.journal import Journal
from quadra_matrix.chaos.mend import mend, take_back
from quadra_matrix.chaos.undo import Undo, from_document

log = logging.getLogger(__name__)

CLEAN, EXPIRED, REMAINS = 0, 75, 76
"""Exit codes: nothing was in place any more or the injector ended; the injector went silent; a fault remains."""
DEADLINE = 60.0
"""Seconds the janitor tries; what is left then is left to the next start."""


class Silence(Exception):
    """Nothing was heard for longer than the lease."""


def keep(journal: Journal, run: str, orders: Iterator[dict[str, Any]]) -> int:
    """Hold undos as ordered; take back what is held when the orders end."""
    held: list[Undo] = []
    ending = CLEAN
    try:
        for order in orders:
            if "hold" in order:
                held.append(from_document(order["hold"]))
                with suppress(BrokenPipeError):  # killed on the way to us; the end of its orders follows
                    os.write(sys.stdout.fileno(), b"held\n")
            elif "drop" in order:
                held.remove(from_document(order["drop"]))
    except Silence:
        log.warning("run %s went silent", run)
        ending = EXPIRED
    except Exception:  # the edge of the process: whatever was wrong with an order, what is held is taken back
        log.exception("an order of run %s was not understood", run)
    left = take_back(held, within=DEADLINE)
    entry = journal.read(run)
    if entry is None:
        return REMAINS if left else ending
    left = mend(journal, entry)  # holds all of them: also one whose injector was killed on the way to telling us
    log.warning("took back %d of %d faults of run %s", len(entry.undos) - len(left), len(entry.undos), run)
    return REMAINS if left else ending


def orders_of(source: int, lease: float) -> Iterator[dict[str, Any]]:
    """Yield the orders that arrive. Raises ``Silence`` when none did for ``lease`` seconds."""
    text = b""
    while True:
        if not select.select([source], [], [], lease)[0]:
            raise Silence
        part = os.read(source, 65536)
        if not part:
            return
        *lines, text = (text + part).split(b"\n")
        yield from (json.loads(line) for line in lines)


def main(folder: str, run: str, lease: str) -> int:
    """Keep the faults of one run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s janitor %(process)d %(message)s")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # meant for the injector, whose end is what counts here
    source = sys.stdin.fileno()
    # Asked to end: read the end of the input from now on, which takes everything back.
    signal.signal(signal.SIGTERM, lambda number, frame: os.dup2(_ended(), source))
    return keep(Journal(Path(folder)), run, orders_of(source, float(lease)))


def _ended() -> int:
    """Return the reading end of a pipe that nobody writes to."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
