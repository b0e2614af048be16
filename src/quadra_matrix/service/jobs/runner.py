"""Takes jobs from the queue, keeps them in true states and hands them to an executor."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import JobLost
from quadra_matrix.service.jobs import machine
from quadra_matrix.store import Job, JobQueue, JobState, JobStore
from quadra_matrix.store.jobs import ACTIVE

log = logging.getLogger(__name__)

MOST_ACTIVE = 1000
"""Active jobs looked at in one step: far above what one machine or cluster runs at once."""


class Executor(Protocol):
    """Where jobs run. Whoever runs the work also renews its lease and records how it ended."""

    def submit(self, job: Job, work: str) -> None:
        """Begin a claimed job; ``work`` is its function as module:function."""

    def cancel(self, job_id: str) -> None:
        """Begin to stop a job; unknown ones are ignored, and it may be called again."""

    def poll(self) -> Sequence[str]:
        """Return the jobs that no longer run here, each once."""

    def logs(self, job_id: str) -> str:
        """Return what the job's process wrote last."""


class Runner:
    """One runner of many: each claims what it can run. For one thread."""

    def __init__(
        self,
        *,
        owner: str,
        jobs: JobStore,
        queue: JobQueue,
        executor: Executor,
        kinds: Mapping[str, str],
        max_running: int,
        lease: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``kinds`` names the work (module:function) of each kind of job; ``lease`` is in seconds."""
        self._owner, self._jobs, self._queue, self._executor = owner, jobs, queue, executor
        self._kinds, self._max_running, self._lease, self._clock = kinds, max_running, lease, clock

    def recover(self) -> None:
        """Interrupt what an earlier runner of this owner left active; call it when all its processes are gone."""
        for job in self._jobs.list(states=ACTIVE, limit=MOST_ACTIVE):
            if job.owner == self._owner:
                log.warning("job %s was %s when the service ended", job.id, job.state)
                self._interrupt(job.id, "the service ended while the job ran")

    def step(self, *, claiming: bool = True) -> int:
        """Do everything that is due and return how many of this owner's jobs are active."""
        for job_id in self._executor.poll():
            self._interrupt(job_id, "the executor lost the job")
        active = self._jobs.list(states=ACTIVE, limit=MOST_ACTIVE)
        mine = [job for job in active if job.owner == self._owner]
        for job in mine:
            self._look_after(job)
        for job in active:
            if job.lease_until is not None and job.lease_until <= self._clock.now():
                self._jobs.change(job.id, partial(machine.expire, now=self._clock.now()))
        if claiming and len(mine) < self._max_running:
            return len(mine) + self._claim(self._max_running - len(mine))
        return len(mine)

    def _look_after(self, job: Job) -> None:
        """Pass a cancel on, and keep the claim on a job that the executor has not begun."""
        if job.state is JobState.CANCELLING:
            self._executor.cancel(job.id)
        if job.holder is None and (job.lease_until or 0) - self._clock.now() < 2 * self._lease / 3:
            step = partial(machine.keep_claim, owner=self._owner, now=self._clock.now(), lease=self._lease)
            self._try(job.id, step)

    def _claim(self, free: int) -> int:
        """Claim and submit up to ``free`` waiting jobs; return how many."""
        claimed = 0
        for waiting in self._queue.waiting(list(self._kinds), free):
            step = partial(machine.claim, owner=self._owner, now=self._clock.now(), lease=self._lease)
            job = self._try(waiting.id, step)
            if job is not None:
                claimed += 1
                self._submit(job)
        return claimed

    def _submit(self, job: Job) -> None:
        """Hand a claimed job to the executor; one that it cannot begin is interrupted."""
        try:
            self._executor.submit(job, self._kinds[job.kind])
        except JobLost as lost:  # cancelled meanwhile
            log.info("%s", lost)
        except Exception:  # the edge of an executor: one job that cannot start must not stop the others
            log.exception("job %s could not be started", job.id)
            self._interrupt(job.id, "the job's process could not be started")

    def _interrupt(self, job_id: str, because: str) -> None:
        """Record that nobody works on a job, unless it is over."""
        self._jobs.change(job_id, partial(machine.interrupt, because=because, now=self._clock.now()))

    def _try(self, job_id: str, step: partial[Job]) -> Job | None:
        """Make a transition, or return None when somebody else was first."""
        try:
            return self._jobs.change(job_id, step)
        except JobLost:
            return None
