"""Backups by the clock: a thread of the runner's process; one host at a time makes one for all."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import QuadraError
from quadra_matrix.events import Hook, ignore
from quadra_matrix.events.storage import BackupFailed, BackupMade
from quadra_matrix.service.backups.parts import keys_of, place_of, retention_of, target_of
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.backup import back_up, expired
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.backups import SqlBackups
from quadra_matrix.storage.sql.leases import SqlLeases
from quadra_matrix.store import new_id
from quadra_matrix.store.backups import BackupRecord

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks at whether a backup is due."""

LEASE = 6 * 3600.0
"""Seconds that a host may take for one backup before another one tries."""

RETRY = 900.0
"""Seconds after a failed backup before the next attempt."""

HOUR = 3600.0

TO_FINISH = 5.0
"""Seconds that a backup under way has when the service stops; one that is cut leaves nothing in the target."""


def is_due(newest: BackupRecord | None, last: BackupRecord | None, *, every: float, now: float) -> bool:
    """Tell whether a backup is due: ``newest`` is the newest that was made, ``last`` the newest attempt."""
    if last is not None and last.error is not None and 0 <= now - last.finished < RETRY:
        return False
    return newest is None or now - newest.started >= every or newest.started > now + HOUR  # or the clock was set back


class Schedule:
    """Makes a backup when one is due and this process leads. Not for several threads."""

    def __init__(self, settings: Settings, database: Database, *, hook: Hook = ignore, clock: Clock) -> None:
        self._settings, self._database, self._hook, self._clock = settings, database, hook, clock
        self._every = (settings.backup_every_hours or 0) * HOUR
        self._log, self._leases, self._me = SqlBackups(database), SqlLeases(database, clock), new_id(clock.now())

    def step(self) -> None:
        """Make a backup if one is due, then remove the expired ones."""
        if not self._is_due() or not self._leases.lead("backup", self._me, LEASE):
            return
        try:
            if self._is_due():  # nobody made one before we became the leader
                self._back_up()
        finally:
            self._leases.leave("backup", self._me)

    def _is_due(self) -> bool:
        last = next(iter(self._log.latest(1)), None)
        return is_due(self._log.last_made(), last, every=self._every, now=self._clock.now())

    def _back_up(self) -> None:
        started = self._clock.now()
        begun = self._clock.monotonic()
        try:
            target = target_of(self._settings)
            entry, _ = back_up(
                place_of(self._settings, self._database), target, keys_of(self._settings), clock=self._clock
            )
        except (QuadraError, OSError) as failed:
            self._log.add(BackupRecord(started, self._clock.now(), None, 0, str(failed)))
            self._hook(BackupFailed(str(failed)))
            log.exception("the backup failed; the next attempt follows in %g s", RETRY)
            return
        seconds = self._clock.monotonic() - begun
        self._log.add(BackupRecord(started, self._clock.now(), entry.name, entry.size, None))
        self._hook(BackupMade(entry.name, entry.size, seconds))
        log.info("backed up to %s: %d bytes in %.1f s", entry.name, entry.size, seconds)
        for old in expired(target.entries(), retention_of(self._settings), self._clock.now()):
            target.delete(old.name)
            log.info("removed the expired backup %s", old.name)


@contextlib.contextmanager
def backing_up(
    settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK, *, hook: Hook = ignore, every: float = EVERY
) -> Iterator[None]:
    """Look all ``every`` seconds whether a backup is due, until the block ends; do nothing without a schedule."""
    if settings.backup_every_hours is None:
        yield
        return
    stop = threading.Event()
    schedule = Schedule(settings, database, hook=hook, clock=clock)
    thread = threading.Thread(target=_look, args=(schedule, stop, every), name="backups", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(TO_FINISH)


def _look(schedule: Schedule, stop: threading.Event, every: float) -> None:
    """Look until stopped; a failed look is logged, because a database that is away must not end all later ones."""
    while True:
        try:
            schedule.step()
        except Exception:  # the edge of the thread
            log.exception("it is unknown whether a backup is due; the next look is in %g s", every)
        if stop.wait(every):
            return
