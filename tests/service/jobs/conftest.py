"""What the tests of jobs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.store import Job, new_id
from quadra_matrix.store.jobs import fingerprint

Submit = Callable[..., Job]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", job_lease_seconds=3.0, grace_seconds=6.0)


@pytest.fixture
def jobs(settings: Settings) -> Iterator[SqlJobs]:
    settings.data_dir.mkdir(parents=True)
    database = Database(settings.database_url)
    all_tables().create_all(database.engine)
    yield SqlJobs(database)
    database.close()


@pytest.fixture
def submit(jobs: SqlJobs) -> Submit:
    """Put a job into the queue."""
    numbers = iter(range(1000))

    def put(kind: str, **request: object) -> Job:
        job = Job(new_id(1000.0 + next(numbers)), kind, created=1000.0, fingerprint=fingerprint(request))
        return jobs.add(job, request, queue_limit=100)

    return put
