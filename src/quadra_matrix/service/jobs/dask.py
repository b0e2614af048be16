"""Runs jobs on a Dask cluster: every worker gives a job a process of its own, as this machine would.

The workers need this package, the same ``QUADRA_`` variables as the service, a database that they reach (PostgreSQL
when they run on other machines) and the same data folder.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType

from quadra_matrix.errors import MissingExtra
from quadra_matrix.service.jobs.attend import attend
from quadra_matrix.service.jobs.attendant import read_log
from quadra_matrix.service.settings import load
from quadra_matrix.store import Job

try:
    from distributed import Client, Future, fire_and_forget
except ModuleNotFoundError as missing:
    raise MissingExtra("distributed", "dask") from missing

log = logging.getLogger(__name__)

CONNECT = 10.0
"""Seconds within which the scheduler has to answer at the start."""


class DaskExecutor:
    """An ``Executor`` on a running Dask cluster. For one thread.

    Jobs outlive it: a worker renews their leases and records how they ended while the service restarts.
    """

    def __init__(self, address: str) -> None:
        """Connect to the scheduler at ``address``; raise ``OSError`` when it does not answer."""
        self._client = Client(address, timeout=CONNECT, set_as_default=False)
        self._futures: dict[str, Future[None]] = {}

    def submit(self, job: Job, work: str) -> None:
        """Hand the job to a worker, once: a task that Dask repeats finds the job begun and lets it be."""
        future = self._client.submit(attend, job.id, work, key=f"quadra-{job.id}", pure=False)
        fire_and_forget(future)
        self._futures[job.id] = future

    def cancel(self, job_id: str) -> None:
        """Do nothing: the worker reads the cancel in the job table, and Dask cannot stop what has begun."""

    def poll(self) -> Sequence[str]:
        """Return the jobs whose task is done or lost."""
        over = [job for job, future in self._futures.items() if future.done()]
        for job in over:
            future = self._futures.pop(job)
            if future.status != "finished":
                log.error("the task of job %s ended as %s", job, future.status)
        return over

    def logs(self, job_id: str) -> str:
        """Return what the job's process wrote last, from whichever worker had it."""
        return "".join(self._client.run(log_here, job_id).values())

    def __enter__(self) -> DaskExecutor:
        """Return the executor."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster and what runs there."""
        self._client.close(timeout=CONNECT)


def log_here(job: str) -> str:
    """Return what the job's process wrote last on this worker's machine."""
    return read_log(load(), job)
