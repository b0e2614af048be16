"""``/api/train``: ask for a training, look at the jobs, cancel one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from flask import Blueprint
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from quadra_matrix.api.flask import documented, validated
from quadra_matrix.api.problem import Problem
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import (
    JobLogUnavailable,
    JobOver,
    KeyReused,
    QuadraError,
    QueueFull,
    ServiceStopping,
    UnknownJob,
)
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.submit import submit_training
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.store import Job, JobState, JobStore

STATUSES: Mapping[type[QuadraError], int] = {
    UnknownJob: 404,
    JobLogUnavailable: 503,
    JobOver: 409,
    KeyReused: 409,
    QueueFull: 429,
    ServiceStopping: 503,
}
"""What each refusal of a job is over HTTP."""

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a training request: it may hold its rows."""

STOPPING_FOR = 10
"""Seconds after which a caller that met a stopping service should try again."""

EXAMPLES = {
    "built-in": {"model": "iris", "data": {"source": "builtin", "name": "iris"}},
    "inline": {
        "model": "switch",
        "data": {"source": "inline", "columns": ["volts", "on"], "rows": [[0.1, False], [4.9, True]] * 10},
        "target": "on",
        "estimator": {"name": "random_forest", "trees": 20},
        "folds": 2,
    },
}

MAX_LOG = 65_536
"""Characters of a log that are answered: the last ones."""

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="Id of a job: 32 hexadecimal digits.")]


class TrainingResponse(BaseModel):
    """A training job as its callers see it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: JobId
    kind: str
    state: JobState
    """queued, starting, running and cancelling go on; the other states are final."""
    about: dict[str, Any]
    """The request, without rows that came with it."""
    created: AwareDatetime
    started: AwareDatetime | None
    finished: AwareDatetime | None
    phase: str
    """What the work is doing; empty before it says."""
    fraction: float = Field(ge=0, le=1)
    """The part that is done."""
    metrics: dict[str, float]
    """Measured so far."""
    result: dict[str, Any] | None
    """Of a job that succeeded: the model, its version and its metrics."""
    error: str | None
    """Of a job that failed or was interrupted: why."""


class JobList(BaseModel):
    """Jobs, newest first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    jobs: list[TrainingResponse]
    next: JobId | None
    """Give it as ``before`` to see older jobs; null at the end."""


class JobLog(BaseModel):
    """What the process of a job wrote last."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    job: JobId
    text: Annotated[str, Field(max_length=MAX_LOG)]
    """At most the last 64 KiB; empty before the job wrote anything, and once its log is gone."""


class JobPath(BaseModel):
    """Names one job."""

    job: JobId


class JobQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    state: JobState | None = None
    """Only jobs in this state."""
    before: JobId | None = None
    """Only jobs that are older than this one."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """Most jobs to list."""


class TrainHeaders(BaseModel):
    """What a training request may say beside its body."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    idempotency_key: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")] | None = None
    """Sent again with the same request it answers the same job, so that a caller may repeat what it is unsure of."""


def no_trace() -> dict[str, str]:
    """Return the headers of no trace."""
    return {}


def train_routes(
    jobs: JobStore,
    *,
    queue_limit: int,
    stopping: Callable[[], bool],
    read_log: Callable[[str], str],
    carried: Callable[[], Mapping[str, str]] = no_trace,
    clock: Clock = SYSTEM_CLOCK,
) -> Blueprint:
    """Return the routes of training jobs.

    ``stopping`` tells whether the service is being stopped, ``read_log`` returns what a job wrote, ``carried`` the
    trace that a request's job goes on with.
    """
    routes = Blueprint("train", __name__, url_prefix="/api/train")

    @routes.post("")
    @documented(examples=EXAMPLES)
    @validated(status=202, responses={409: Problem, 429: Problem}, max_body=MAX_BODY)
    def train(body: TrainingRequest, headers: TrainHeaders) -> tuple[TrainingResponse, int, dict[str, str]]:
        """Queue a training and answer its job."""
        if stopping():
            raise ServiceStopping(STOPPING_FOR)
        job = submit_training(
            jobs,
            body,
            key=headers.idempotency_key,
            queue_limit=queue_limit,
            now=clock.now(),
            carried=carried(),
        )
        return view(job), 202, {"Location": f"/api/train/{job.id}"}

    @routes.get("")
    @validated
    def listed(query: JobQuery) -> JobList:
        """List jobs, newest first."""
        found = jobs.list(states=[query.state] if query.state else (), before=query.before, limit=query.limit)
        older = found[-1].id if len(found) == query.limit else None
        return JobList(jobs=[view(job) for job in found], next=older)

    @routes.get("/<job>")
    @validated(responses={404: Problem})
    def shown(path: JobPath) -> TrainingResponse:
        """Show one job."""
        return view(jobs.get(path.job))

    @routes.get("/<job>/logs")
    @validated(responses={404: Problem, 503: Problem})
    def logs(path: JobPath) -> JobLog:
        """Return what the job's process wrote last, wherever it ran."""
        job = jobs.get(path.job)
        return JobLog(job=job.id, text=read_log(job.id)[-MAX_LOG:])

    @routes.post("/<job>/cancel")
    @validated(status=202, responses={404: Problem, 409: Problem})
    def cancel(path: JobPath) -> TrainingResponse:
        """Cancel a job: at once while it waits, within seconds while it runs. One that ended otherwise is a 409."""
        return view(jobs.change(path.job, partial(machine.ask_to_cancel, now=clock.now())))

    return routes


def view(job: Job) -> TrainingResponse:
    """Return a job as its callers see it."""
    return TrainingResponse(
        id=job.id,
        kind=job.kind,
        state=job.state,
        about=dict(job.about),
        created=_moment(job.created),
        started=_moment(job.started) if job.started is not None else None,
        finished=_moment(job.finished) if job.finished is not None else None,
        phase=job.phase,
        fraction=job.fraction,
        metrics=dict(job.metrics),
        result=dict(job.result) if job.result is not None else None,
        error=job.error,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
