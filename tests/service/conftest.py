"""What the tests of the service share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from quadra_matrix.client import request
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.store import Job, new_id
from quadra_matrix.store.jobs import fingerprint
from tests.services.process import accepts, free_port, running

TINY, REAL = "tests.service.apps:tiny", "quadra_matrix.service.app:create_app"


def command(app: str = TINY) -> list[str]:
    """Return the command that runs the service around an application."""
    return [sys.executable, "-c", f"from tests.service.apps import serve_with; serve_with({app!r})"]


Submit = Callable[..., Job]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        port=free_port(),
        hub_port=free_port(),
        workers=1,
        job_lease_seconds=3.0,
        grace_seconds=8.0,
    )


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

    def put(kind: str, **asked: object) -> Job:
        job = Job(new_id(1000.0 + next(numbers)), kind, created=1000.0, fingerprint=fingerprint(asked))
        return jobs.add(job, asked, queue_limit=100)

    return put


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    process: Popen[bytes]
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def hub(self) -> str:
        return f"ws://127.0.0.1:{self.settings.hub_port}/ws"

    def get(self, path: str = "/") -> int:
        """Return the process number of the worker that answers."""
        answer: int = request(self.url + path)
        return answer


Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def serve(settings: Settings, jobs: SqlJobs, tmp_path: Path) -> Serve:
    """Start the service; the data it finds are those of ``jobs``."""

    @contextmanager
    def started(app: str = TINY, **variables: str) -> Iterator[Service]:
        with running(
            command(app),
            log=tmp_path / "serve.log",
            ready=lambda: accepts(settings.port) and accepts(settings.hub_port),
            env={**settings.child_environment(), **variables},
        ) as process:
            yield Service(process, settings)

    return started


def alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie that nobody collects here does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Return the processes that ``pid`` started and that run, without their own children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def family(pid: int) -> list[int]:
    """Return every process below ``pid``."""
    below = children(pid)
    return below + [later for child in below for later in family(child)]
