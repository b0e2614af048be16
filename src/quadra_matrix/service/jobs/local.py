"""Runs jobs as processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.service.jobs.attendant import PATIENCE, Attendant, read_log
from quadra_matrix.service.settings import Settings
from quadra_matrix.store import Job, JobStore


class LocalExecutor:
    """An ``Executor`` with one new process a job. For one thread; as a context it leaves no process behind."""

    def __init__(
        self, jobs: JobStore, settings: Settings, *, clock: Clock = SYSTEM_CLOCK, keep: tuple[int, ...] = ()
    ) -> None:
        """``keep`` are descriptors that every job's process inherits: a lock they hold together."""
        self._jobs, self._settings, self._clock, self._keep = jobs, settings, clock, keep
        self._attendants: dict[str, Attendant] = {}

    def submit(self, job: Job, work: str) -> None:
        """Start the job's process."""
        self._attendants[job.id] = Attendant(
            job.id, work, jobs=self._jobs, settings=self._settings, clock=self._clock, keep=self._keep
        )

    def cancel(self, job_id: str) -> None:
        """Stop the job's process, politely first."""
        if job_id in self._attendants:
            self._attendants[job_id].stop()

    def poll(self) -> Sequence[str]:
        """Watch every process and return the jobs whose process ended."""
        over = [job for job, attendant in self._attendants.items() if attendant.tick()]
        for job in over:
            del self._attendants[job]
        return over

    def logs(self, job_id: str) -> str:
        """Return what the job's process wrote last."""
        return read_log(self._settings, job_id)

    def __enter__(self) -> LocalExecutor:
        """Return the executor."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every process and record how it ended."""
        for job in list(self._attendants):
            self.cancel(job)
        deadline = self._clock.monotonic() + 2 * PATIENCE
        while self._attendants and self._clock.monotonic() < deadline:
            self.poll()
            self._clock.sleep(0.02)
