"""The process of one job: ``python -m quadra_matrix.service.jobs.work PARENT JOB HOLDER MODULE:FUNCTION``."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import JobLost, QuadraError
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.assignment import Assignment, Work
from quadra_matrix.service.jobs.spans import in_its_trace
from quadra_matrix.service.processes import die_with_parent
from quadra_matrix.service.settings import load
from quadra_matrix.service.watching import ids_of_job, log_to_stderr, traced
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import JobStore
from quadra_matrix.telemetry.otel.current import note
from quadra_matrix.telemetry.series import Metrics

log = logging.getLogger(__name__)

BETWEEN_REPORTS = 0.2
"""Seconds between two progress events of one phase: work may report as often as it likes."""


class Reporter:
    """Turns reports into progress of the job, a few per second at most. For one thread."""

    def __init__(self, jobs: JobStore, job: str, holder: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._jobs, self._job, self._holder, self._clock = jobs, job, holder, clock
        self._phase: str | None = None
        self._told = 0.0
        self._held_back: Callable[[], None] | None = None

    def __call__(self, phase: str, fraction: float, metrics: Mapping[str, float]) -> None:
        """Tell of progress now, or hold it back until the next report. Raises ``JobLost`` when work must stop."""
        tell = partial(self._tell, phase, fraction, metrics)
        now = self._clock.monotonic()
        if phase == self._phase and now - self._told < BETWEEN_REPORTS:
            self._held_back = tell
            return
        self._phase, self._told, self._held_back = phase, now, None
        tell()

    def flush(self) -> None:
        """Tell what was held back."""
        if self._held_back:
            self._held_back()
            self._held_back = None

    def _tell(self, phase: str, fraction: float, metrics: Mapping[str, float]) -> None:
        step = partial(machine.progress, holder=self._holder, phase=phase, fraction=fraction, metrics=metrics)
        self._jobs.change(self._job, step)


def do(
    work: Work, task: Assignment, *, jobs: JobStore, holder: str, reporter: Reporter, clock: Clock = SYSTEM_CLOCK
) -> int:
    """Do the work, record how it went and return the exit code: 0 done, 1 failed, 3 no longer ours."""
    try:
        result = work(task)
        reporter.flush()
        jobs.change(task.job, partial(machine.succeed, holder=holder, result=result, now=clock.now()))
    except JobLost as lost:
        log.warning("%s; what was done is dropped", lost)
        return 3
    except QuadraError as failed:
        log.warning("job %s failed: %s", task.job, failed)
        return _failed(jobs, task.job, holder, str(failed), clock)
    except Exception as failed:  # the edge of the process: whatever the work raises, the job says so
        log.exception("job %s failed", task.job)
        # The message may quote rows or addresses; only the log gets it.
        return _failed(jobs, task.job, holder, f"unexpected {type(failed).__name__}; the job's log says more", clock)
    return 0


def _failed(jobs: JobStore, job: str, holder: str, error: str, clock: Clock) -> int:
    """Record the failure, unless the job is no longer ours."""
    try:
        jobs.change(job, partial(machine.fail, holder=holder, error=error, now=clock.now()))
    except JobLost:
        return 3
    return 1


def found(target: str) -> Work:
    """Import and return the function that ``module:function`` names."""
    module, name = target.split(":")
    work: Work = getattr(importlib.import_module(module), name)
    return work


def main(arguments: Sequence[str]) -> int:
    """Do one job in this process and return its exit code."""
    parent, job, holder, target = arguments
    die_with_parent(int(parent))
    settings = load()
    database = Database(settings.database_url)
    with (
        contextlib.closing(database),
        contextlib.closing(Metrics(settings.metrics_dir, note=note)) as metrics,
        traced(settings, metrics.spans) as tracing,
    ):
        jobs = SqlJobs(database)
        asked = jobs.get(job)
        log_to_stderr(settings, ids_of_job(asked.carried or {}))
        reporter = Reporter(jobs, job, holder)
        task = Assignment(job, jobs.request(job), settings, database, reporter, metrics.hear)
        work = in_its_trace(found(target), asked, tracing)
        return do(work, task, jobs=jobs, holder=holder, reporter=reporter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
