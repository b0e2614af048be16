"""Who watches one job: starts its process, renews its lease, stops it on a cancel and records how it ended."""

from __future__ import annotations

import logging
import signal
import subprocess
from functools import partial
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import JobLost
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.processes import ending, has_ended, send, start
from quadra_matrix.service.settings import Settings
from quadra_matrix.store import JobState, JobStore, new_id

log = logging.getLogger(__name__)

WORK = "quadra_matrix.service.jobs.work"
"""The process of a job."""

TICK = 0.2
"""Seconds between two looks at a job and its process."""

PATIENCE = 2.0
"""Seconds between the polite signal and the one that cannot be ignored."""


def log_file(settings: Settings, job: str) -> Path:
    """Return where the output of a job's process goes."""
    return settings.logs_dir / "jobs" / f"{job}.log"


class Attendant:
    """Holds one job until it is over. For one thread, which must outlive the job's process."""

    def __init__(
        self,
        job: str,
        work: str,
        *,
        jobs: JobStore,
        settings: Settings,
        clock: Clock = SYSTEM_CLOCK,
        keep: tuple[int, ...] = (),
        to_file: bool = True,
    ) -> None:
        """Take hold of the job and start ``work`` (module:function). Raises ``JobLost`` when it is somebody else's.

        The output of its process goes to the job's log file, or to where this process writes.
        """
        self.job = job
        self._jobs, self._clock, self._lease = jobs, clock, settings.job_lease_seconds
        self._holder = new_id(clock.now())
        jobs.change(job, partial(machine.begin, holder=self._holder, now=clock.now(), lease=self._lease))
        self._renewed = clock.monotonic()
        self._stopped: float | None = None
        self._lost = False
        begin = _started if to_file else _started_beside
        self._process = begin(job, self._holder, work, settings, keep)

    def tick(self) -> bool:
        """Do what is due and tell whether the job is over."""
        if has_ended(self._process):
            self._record()
            return True
        if self._must_stop():
            self.stop()
        if self._stopped is not None and self._clock.monotonic() - self._stopped >= PATIENCE:
            send(self._process, signal.SIGKILL)
        return False

    def stop(self) -> None:
        """Ask the process to end; ``tick`` makes it, should it not."""
        if self._stopped is None and not has_ended(self._process):
            self._stopped = self._clock.monotonic()
            send(self._process, signal.SIGTERM)

    def _must_stop(self) -> bool:
        """Tell whether the job was cancelled or taken away; renew the lease when a third of it is gone."""
        if self._clock.monotonic() - self._renewed < self._lease / 3:
            job = self._jobs.get(self.job)
            return job.state is not JobState.RUNNING and not job.state.is_over
        try:
            step = partial(machine.renew, holder=self._holder, now=self._clock.now(), lease=self._lease)
            job = self._jobs.change(self.job, step)
        except JobLost:
            # Over: its own process said so and is about to end, or the lease ran out under us. Ending takes a moment.
            self._renewed = self._clock.monotonic()
            was_lost, self._lost = self._lost, True
            return was_lost
        self._renewed = self._clock.monotonic()
        return job.state is JobState.CANCELLING

    def _record(self) -> None:
        """Write down how the process ended, unless it did so itself."""
        now, code = self._clock.now(), self._process.returncode
        log.info("job %s: its process ended with %s", self.job, ending(code))
        if self._stopped is not None:
            step = partial(machine.interrupt, because="the service was stopped", now=now)
        else:
            step = partial(machine.process_ended, holder=self._holder, error=_unexplained(code), now=now)
        try:
            self._jobs.change(self.job, step)
        except JobLost as lost:
            log.warning("%s", lost)


def _unexplained(code: int) -> str:
    """Return the error of a job whose process ended without a word."""
    return f"the job's process ended with {ending(code)} before it had a result"


def _started(job: str, holder: str, work: str, settings: Settings, keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start the job's process with its output in the job's log."""
    path = log_file(settings, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as output:
        return start(WORK, job, holder, work, settings=settings, output=output, keep=keep)


def _started_beside(
    job: str, holder: str, work: str, settings: Settings, keep: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start the job's process with its output where ours goes: in a pod, that is the pod's log."""
    return start(WORK, job, holder, work, settings=settings, keep=keep)


def read_log(settings: Settings, job: str, most: int = 65_536) -> str:
    """Return the last ``most`` bytes that a job's process wrote; empty before it wrote anything."""
    path = log_file(settings, job)
    if not path.exists():
        return ""
    with path.open("rb") as written:
        written.seek(max(0, path.stat().st_size - most))
        return written.read().decode(errors="replace")
