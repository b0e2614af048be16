"""Put a training request into the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.store import Job, JobStore, new_id
from quadra_matrix.store.jobs import fingerprint

TRAIN = "train"
"""The kind of a training job."""


def submit_training(
    jobs: JobStore,
    request: TrainingRequest,
    *,
    key: str | None,
    queue_limit: int,
    now: float,
    carried: Mapping[str, str] | None = None,
) -> Job:
    """Queue a training and return its job; the same ``key`` and request return the job they made before.

    ``carried`` is the trace that the job goes on, as headers.

    Raises ``QueueFull`` when ``queue_limit`` jobs wait, ``KeyReused`` when the key came with another request.
    """
    asked = request.model_dump(mode="json")
    job = Job(
        new_id(now),
        TRAIN,
        created=now,
        about=_about(asked),
        fingerprint=fingerprint(asked),
        key=key,
        carried=carried,
    )
    return jobs.add(job, asked, queue_limit=queue_limit)


def _about(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request without its rows and their columns."""
    data = {name: value for name, value in asked["data"].items() if name not in {"rows", "columns"}}
    return {**asked, "data": data}
