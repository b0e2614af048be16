"""A training job from the queue to the registry, in the process that a real one gets."""

from __future__ import annotations

import pytest

from quadra_matrix.service.jobs.attendant import Attendant, read_log
from quadra_matrix.service.jobs.machine import claim
from quadra_matrix.service.jobs.submit import submit_training
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.storage.sql.models import SqlModels
from quadra_matrix.store import Job, JobState
from tests.services.process import wait_until

WORK = "quadra_matrix.service.jobs.training:run"


def done(jobs: SqlJobs, settings: Settings, request: TrainingRequest, work: str = WORK) -> Job:
    """Run one training job as a runner would, and return it when it is over."""
    job = submit_training(jobs, request, key=None, queue_limit=9, now=1000.0)
    jobs.change(job.id, lambda found: claim(found, owner="test", now=1000.0, lease=60))
    attendant = Attendant(job.id, work, jobs=jobs, settings=settings)
    wait_until(attendant.tick, f"the training to end: {read_log(settings, job.id)}", 120)
    return jobs.get(job.id)


@pytest.mark.slow
def test_a_training_job_publishes_a_model(jobs: SqlJobs, settings: Settings) -> None:
    job = done(jobs, settings, TrainingRequest(model="iris", data=BuiltIn(name="iris"), folds=3))

    database = Database(settings.database_url)
    published = Registry(SqlModels(database), settings.models_dir).find("iris")
    database.close()
    assert job.state is JobState.SUCCEEDED, job
    assert job.result
    assert (job.result["model"], job.result["version"]) == ("iris", published.version)
    assert job.result["metrics"] == dict(published.metrics)
    assert {"cross-validating", "fitting", "publishing"} <= {event.data["phase"] for event in jobs.read(0, job=job.id)}


@pytest.mark.slow
def test_a_training_that_cannot_be_says_why(jobs: SqlJobs, settings: Settings) -> None:
    job = done(jobs, settings, TrainingRequest(model="iris", data=BuiltIn(name="iris"), target="colour"))

    assert job.state is JobState.FAILED
    assert "colour" in str(job.error)
    assert not list(settings.models_dir.glob("iris/*"))


@pytest.mark.slow
def test_a_training_killed_while_it_publishes_leaves_no_half_a_model(jobs: SqlJobs, settings: Settings) -> None:
    request = TrainingRequest(model="iris", data=BuiltIn(name="iris"))
    database = Database(settings.database_url)
    registry = Registry(SqlModels(database), settings.models_dir)

    killed = done(jobs, settings, request, "tests.service.jobs.kinds:dies_publishing")
    in_between = registry.catalogue()
    healed = done(jobs, settings, request)

    assert killed.state is JobState.FAILED
    assert (settings.models_dir / "iris" / "1").exists(), "it was killed where it hurts"
    assert in_between.versions == {}
    assert healed.result
    assert healed.result["version"] == 1
    version = registry.find("iris")
    assert all(registry.read(version, file) for file in version.files)
    database.close()
