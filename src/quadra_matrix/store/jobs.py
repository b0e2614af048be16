"""Jobs, the log of what happened to them, and the stores that keep both."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class JobState(enum.StrEnum):
    """Where a job stands. Every state from SUCCEEDED on is final."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """Whether nothing can change any more."""
        return self in _OVER


_OVER = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})

ACTIVE = (JobState.STARTING, JobState.RUNNING, JobState.CANCELLING)
"""The states in which a process may be at work on the job."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work that runs in its own process. Times are seconds since the epoch, UTC.

    The request is kept beside it: it may hold a hundred thousand rows, and a job is read several times a second.
    """

    id: str
    kind: str
    created: float
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the request asks for, short enough to show."""
    fingerprint: str = ""
    """Of the request: tells whether a key came again with another one."""
    state: JobState = JobState.QUEUED
    key: str | None = None
    """The Idempotency-Key it came with."""
    owner: str | None = None
    """The runner that claimed it."""
    holder: str | None = None
    """The attendant whose process works on it: a token that fences off every other one."""
    lease_until: float | None = None
    """When the job counts as dead unless its owner or holder renews."""
    started: float | None = None
    finished: float | None = None
    phase: str = ""
    fraction: float = 0.0
    """The part that is done, 0 to 1; it never goes back."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    error: str | None = None
    carried: Mapping[str, str] | None = None
    """The trace of the request that asked for it, as headers."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of the log. Sequences rise strictly, in the order in which the lines became visible."""

    sequence: int
    time: float
    type: str
    job: str
    data: Mapping[str, Any]


def announced(before: Job | None, after: Job) -> str | None:
    """Return the type of the event that tells of a change, or None for one that nobody watches (a renewed lease)."""
    if before is None or before.state is not after.state:
        return f"job.{after.state}"
    seen = (before.phase, before.fraction, before.metrics)
    return "job.progress" if seen != (after.phase, after.fraction, after.metrics) else None


def event_data(job: Job) -> dict[str, Any]:
    """Return what an event says about ``job``; a result or an error only where there is one."""
    told: dict[str, Any] = {
        "job": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "phase": job.phase,
        "fraction": job.fraction,
        "metrics": dict(job.metrics),
    }
    if job.result is not None:
        told["result"] = dict(job.result)
    if job.error is not None:
        told["error"] = job.error
    return told


def fingerprint(request: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request as hex digits, whatever the order of its fields."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class JobStore(Protocol):
    """The job table. Every change appends its event to the log in the same transaction."""

    def add(self, job: Job, request: Mapping[str, Any], *, queue_limit: int) -> Job:
        """Keep a new job and its request, or return the one that its key already made.

        Raises ``KeyReused`` when the key made a job of another request, ``QueueFull`` when ``queue_limit`` jobs wait.
        """

    def get(self, job_id: str) -> Job:
        """Return one job. Raises ``UnknownJob``."""

    def list(self, *, states: Sequence[JobState] = (), before: str | None = None, limit: int = 100) -> Sequence[Job]:
        """Return the newest jobs first: of ``states`` (all when empty), with ids below ``before``."""

    def change(self, job_id: str, decide: Callable[[Job], Job]) -> Job:
        """Replace the job by what ``decide`` returns, in one transaction that no other change can interleave.

        An error that ``decide`` raises leaves the job as it is. Raises ``UnknownJob``.
        """


class JobQueue(Protocol):
    """What waits, and what it asks for."""

    def waiting(self, kinds: Sequence[str], limit: int) -> Sequence[Job]:
        """Return queued jobs of ``kinds``, oldest first."""

    def request(self, job_id: str) -> Mapping[str, Any]:
        """Return what a job was asked to do. Raises ``UnknownJob``."""

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs are in each state; every state is there."""


class JobLog(Protocol):
    """The append-only log of job events."""

    def read(self, after: int, *, job: str | None = None, limit: int = 500) -> Sequence[JobEvent]:
        """Return the events with a sequence above ``after``, oldest first, of one job or of all."""

    def latest(self) -> int:
        """Return the highest sequence that is visible, 0 when nothing happened yet."""
