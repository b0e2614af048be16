"""The sample model: something to predict with after the first start."""

from __future__ import annotations

import sys

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.service.jobs.submit import submit_training
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job, JobState
from quadra_matrix.store.jobs import fingerprint


def submit_sample(settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK) -> Job:
    """Queue the training of the default model on the breast cancer data, unless it waits, runs or is done."""
    request = TrainingRequest(model=settings.default_model, data=BuiltIn(name="breast_cancer"))
    jobs, mark = SqlJobs(database, clock), fingerprint(request.model_dump(mode="json"))[:16]
    attempt = 0
    while True:  # a key answers the job it made for ever, also one that failed
        attempt += 1
        key = f"sample-{mark}-{attempt}"
        job = submit_training(jobs, request, key=key, queue_limit=sys.maxsize, now=clock.now())
        if not job.state.is_over or job.state is JobState.SUCCEEDED:
            return job
