"""The runner's process: ``python -m quadra_matrix.service.jobs PARENT [KIND=MODULE:FUNCTION ...]``."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.service.backups.schedule import backing_up
from quadra_matrix.service.certificates import renewing
from quadra_matrix.service.deciding import deciding
from quadra_matrix.service.jobs.attendant import TICK
from quadra_matrix.service.jobs.local import LocalExecutor
from quadra_matrix.service.jobs.runner import Executor, Runner
from quadra_matrix.service.processes import die_with_parent, exclusive
from quadra_matrix.service.settings import ExecutorName, Settings, load
from quadra_matrix.service.watching import log_to_stderr
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import new_id
from quadra_matrix.telemetry.series import Metrics

log = logging.getLogger(__name__)

KINDS = {"train": "quadra_matrix.service.jobs.training:run"}
"""The work of each kind of job."""

BEAT = "runner.beat"
"""File below run/ that holds when the runner last looked at the queue."""

TO_FINISH = 5.0
"""Seconds that running jobs have to finish when the service stops, or half the grace period if that is less."""


def run(settings: Settings, kinds: Mapping[str, str], stop: threading.Event, clock: Clock = SYSTEM_CLOCK) -> None:
    """Run jobs until ``stop`` is set; then give the running ones a moment, and interrupt the others."""
    run_dir = settings.run_dir
    with alone(run_dir / "runner.lock", stop) as lock:
        if lock is None:
            return
        database = Database(settings.database_url)
        jobs = SqlJobs(database, clock)
        with (
            contextlib.closing(database),
            contextlib.closing(Metrics(settings.metrics_dir)) as metrics,
            deciding(settings, database, clock, hook=metrics.hear),
            backing_up(settings, database, clock, hook=metrics.hear),
            renewing(settings, database, clock, hook=metrics.hear),
            executor_for(settings, jobs, lock) as executor,
        ):
            runner = Runner(
                owner=_identity(lock),
                jobs=jobs,
                queue=jobs,
                executor=executor,
                kinds=kinds,
                max_running=settings.max_running_jobs,
                lease=settings.job_lease_seconds,
                clock=clock,
            )
            if settings.executor is ExecutorName.LOCAL:
                runner.recover()
            _loop(runner, run_dir / BEAT, settings.grace_seconds, stop, clock)


def last_beat(data_dir: Path) -> float:
    """Return when the runner of this data folder last looked at its jobs, seconds since the epoch; 0 for never."""
    try:
        return float((data_dir / "run" / BEAT).read_text())
    except (FileNotFoundError, ValueError):  # not started yet, or read while it is written
        return 0.0


def _loop(runner: Runner, beat: Path, grace: float, stop: threading.Event, clock: Clock) -> None:
    """Step until stopped, then until the running jobs ended or their moment is over."""
    while not stop.is_set():
        _step(runner, claiming=True)
        beat.write_text(repr(clock.now()))
        stop.wait(TICK)
    deadline = clock.monotonic() + min(TO_FINISH, grace / 2)
    while _step(runner, claiming=False) and clock.monotonic() < deadline:
        clock.sleep(TICK)


def _step(runner: Runner, *, claiming: bool) -> int:
    """Do one step; a failed one is logged and tried again, because a database that restarts must not stop jobs."""
    try:
        return runner.step(claiming=claiming)
    except Exception:  # the edge of the loop
        log.exception("the runner's step failed; it is tried again")
        return 1


@contextlib.contextmanager
def alone(path: Path, stop: threading.Event) -> Iterator[int | None]:
    """Yield the lock once the last runner of this folder and all its jobs' processes are gone; None when stopped."""
    said = False
    while not stop.is_set():
        with exclusive(path) as lock:
            if lock is not None:
                yield lock
                return
        if not said:
            log.warning("another runner works in %s; waiting for it to end", path.parent)
            said = True
        stop.wait(TICK)
    yield None


def _identity(lock: int) -> str:
    """Return the name of the runner of this folder, made once and kept in its lock file."""
    name = os.pread(lock, 64, 0).decode()
    if not name:
        name = new_id(SYSTEM_CLOCK.now())
        os.pwrite(lock, name.encode(), 0)
    return name


@contextlib.contextmanager
def executor_for(settings: Settings, jobs: SqlJobs, lock: int) -> Iterator[Executor]:
    """Yield the executor that the settings name; it stops what must not go on without it."""
    if settings.executor is ExecutorName.DASK:
        from quadra_matrix.service.jobs.dask import DaskExecutor

        with DaskExecutor(str(settings.dask_address)) as cluster:
            yield cluster
        return
    if settings.executor is ExecutorName.KUBERNETES:
        from quadra_matrix.service.jobs.kubernetes import KubernetesExecutor

        with KubernetesExecutor(
            jobs, pod=settings.kubernetes_pod, namespace=settings.kubernetes_namespace
        ) as kubernetes:
            yield kubernetes
        return
    with LocalExecutor(jobs, settings, keep=(lock,)) as local:
        yield local


def main(arguments: Sequence[str]) -> int:
    """Be the runner until a signal says stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    die_with_parent(int(arguments[0]))
    settings = load()
    log_to_stderr(settings)
    kinds = dict(argument.split("=", 1) for argument in arguments[1:])
    run(settings, kinds or KINDS, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
