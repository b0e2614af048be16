"""Hold one job wherever it was sent: ``python -m quadra_matrix.service.jobs.attend JOB MODULE:FUNCTION``.

A worker of another machine does as the runner does on its own: it starts the job's process, renews its lease, stops it
on a cancel and records how it ended, all through the job table.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import JobLost
from quadra_matrix.service.jobs.attendant import TICK, Attendant
from quadra_matrix.service.settings import load
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs

log = logging.getLogger(__name__)


def attend(job: str, work: str, *, stop: threading.Event | None = None, to_file: bool = True) -> None:
    """Hold one job until it is over, with the settings of this machine; a set ``stop`` interrupts it.

    The output of its process goes to the job's log file, or to where this process writes.
    """
    settings = load()
    database = Database(settings.database_url)
    try:
        attendant = Attendant(job, work, jobs=SqlJobs(database), settings=settings, to_file=to_file)
        while not attendant.tick():
            if stop is not None and stop.is_set():
                attendant.stop()
            SYSTEM_CLOCK.sleep(TICK)
    except JobLost as lost:
        log.warning("%s", lost)
    finally:
        database.close()


def main(arguments: Sequence[str]) -> int:
    """Hold one job in this process, until it is over or a signal says stop."""
    job, work = arguments
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.basicConfig(level=str(load().log_level), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    attend(job, work, stop=stop, to_file=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
