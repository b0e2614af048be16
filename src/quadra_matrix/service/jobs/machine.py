"""What may happen to a job: pure transitions, with the time as an argument.

queued -> starting -> running -> succeeded | failed
   |          |          |
   |          +----------+-> interrupted (its process and whoever watched it are gone)
   |          |          +-> cancelling -> cancelled (or succeeded, when the work was done first)
   +----------+-> cancelled
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quadra_matrix.errors import JobLost, JobOver
from quadra_matrix.store.jobs import ACTIVE, Job, JobState


def claim(job: Job, *, owner: str, now: float, lease: float) -> Job:
    """Return the job as the runner ``owner`` takes it; only a waiting job can be taken."""
    if job.state is not JobState.QUEUED:
        raise JobLost(job.id, job.state)
    return replace(job, state=JobState.STARTING, owner=owner, lease_until=now + lease)


def keep_claim(job: Job, *, owner: str, now: float, lease: float) -> Job:
    """Return the job with a longer lease while nobody holds it yet; afterwards its holder renews, not its owner."""
    if job.owner != owner or job.state not in ACTIVE:
        raise JobLost(job.id, job.state)
    return job if job.holder else replace(job, lease_until=now + lease)


def begin(job: Job, *, holder: str, now: float, lease: float) -> Job:
    """Return the job as work on it begins. A second beginning is refused, whoever asks."""
    if job.state is not JobState.STARTING or job.holder is not None:
        raise JobLost(job.id, job.state)
    return replace(job, state=JobState.RUNNING, holder=holder, started=now, lease_until=now + lease)


def renew(job: Job, *, holder: str, now: float, lease: float) -> Job:
    """Return the job with a longer lease."""
    return replace(_held(job, holder), lease_until=now + lease)


def progress(job: Job, *, holder: str, phase: str, fraction: float, metrics: Mapping[str, float]) -> Job:
    """Return the job with what its work reports; the fraction never goes back and never passes 1."""
    held = _held(job, holder)
    return replace(held, phase=phase, fraction=max(held.fraction, min(fraction, 1.0)), metrics=dict(metrics))


def succeed(job: Job, *, holder: str, result: Mapping[str, Any], now: float) -> Job:
    """Return the finished job. A cancel that came too late does not undo what was done."""
    held = _held(job, holder)
    return replace(_over(held, JobState.SUCCEEDED, now), result=dict(result), fraction=1.0)


def fail(job: Job, *, holder: str, error: str, now: float) -> Job:
    """Return the job as its work gave up."""
    return replace(_over(_held(job, holder), JobState.FAILED, now), error=error)


def ask_to_cancel(job: Job, *, now: float) -> Job:
    """Return the job as somebody cancels it: at once before work begins, through its holder afterwards.

    Asking twice is one cancel. A job that ended otherwise raises ``JobOver``.
    """
    if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
        return job
    if job.state.is_over:
        raise JobOver(job.id, job.state)
    if job.holder is None:  # no process yet, and none will start: beginning is refused from now on
        return _over(job, JobState.CANCELLED, now)
    return replace(job, state=JobState.CANCELLING)


def process_ended(job: Job, *, holder: str, error: str, now: float) -> Job:
    """Return the job after its process ended: unchanged when the work said how it ended, else cancelled or failed."""
    if job.holder == holder and job.state.is_over:
        return job
    held = _held(job, holder)
    if held.state is JobState.CANCELLING:
        return _over(held, JobState.CANCELLED, now)
    return replace(_over(held, JobState.FAILED, now), error=error)


def interrupt(job: Job, *, because: str, now: float) -> Job:
    """Return the job once nobody works on it any more; a job that is over or waits is left alone."""
    if job.state not in ACTIVE:
        return job
    if job.state is JobState.CANCELLING:
        return _over(job, JobState.CANCELLED, now)
    return replace(_over(job, JobState.INTERRUPTED, now), error=because)


def expire(job: Job, *, now: float) -> Job:
    """Return the job interrupted when its lease has run out, else unchanged."""
    if job.lease_until is None or now < job.lease_until:
        return job
    return interrupt(job, because="nothing renewed the job's lease: its process and its runner are gone", now=now)


def _held(job: Job, holder: str) -> Job:
    """Return the job if ``holder`` still works on it."""
    if job.holder != holder or job.state not in ACTIVE:
        raise JobLost(job.id, job.state)
    return job


def _over(job: Job, state: JobState, now: float) -> Job:
    """Return the job in a final state: nobody's any more."""
    return replace(job, state=state, finished=now, lease_until=None)
