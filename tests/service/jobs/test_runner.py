"""Jobs in real processes: whatever is killed, every job ends in a true state and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.__main__ import last_beat
from quadra_matrix.service.jobs.attendant import log_file
from quadra_matrix.service.processes import start
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job, JobState
from tests.conftest import copy_of
from tests.service.conftest import Submit, alive
from tests.service.jobs.kinds import KINDS
from tests.services.postgres import Postgres
from tests.services.process import stop, wait_until

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    kinds = [f"{kind}={work}" for kind, work in KINDS.items()]
    process = start("quadra_matrix.service.jobs", *kinds, settings=settings)
    try:
        yield process
    finally:
        stop(process)


def wait_for(jobs: SqlJobs, job: Job, *states: JobState, within: float = 30.0) -> Job:
    wait_until(lambda: jobs.get(job.id).state in states, f"{states}, is {jobs.get(job.id)}", within)
    return jobs.get(job.id)


def wait_for_report(jobs: SqlJobs, job: Job) -> dict[str, int]:
    """Return the process numbers that the work reports once it is under way."""
    wait_until(lambda: bool(jobs.get(job.id).metrics), "the job to report")
    return {name: int(value) for name, value in jobs.get(job.id).metrics.items()}


def test_jobs_run_and_end_as_their_work_does(jobs: SqlJobs, settings: Settings, submit: Submit) -> None:
    done, refused, broken, died, missing = (
        submit(kind, model="m") for kind in ("quick", "refuses", "breaks", "dies", "missing")
    )

    with running(settings):
        for job in (done, refused, broken, died, missing):
            wait_for(jobs, job, JobState.SUCCEEDED, JobState.FAILED, within=60)

    assert jobs.get(done.id).result == {"echo": {"model": "m"}}
    assert [event.type for event in jobs.read(0, job=done.id)][-1] == "job.succeeded"
    assert jobs.get(refused.id).error == "target is 'nobody'; it must be a column of the data"
    assert jobs.get(broken.id).error == "unexpected RuntimeError; the job's log says more"
    assert "RuntimeError: password=***" in log_file(settings, broken.id).read_text()
    assert "killed by signal 9 (SIGKILL)" in str(jobs.get(died.id).error)
    assert jobs.get(missing.id).state is JobState.FAILED


def test_jobs_run_on_postgresql(postgres: Postgres, postgres_template: str, settings: Settings) -> None:
    url = copy_of(postgres, postgres_template)
    database = Database(url)
    jobs = SqlJobs(database)
    job = jobs.add(Job("0" * 32, "quick", created=1000.0), {"model": "m"}, queue_limit=1)

    with running(settings.model_copy(update={"database_url": url})):
        done = wait_for(jobs, job, JobState.SUCCEEDED)
    database.close()

    assert done.result == {"echo": {"model": "m"}}


def test_a_killed_process_fails_only_its_own_job(
    jobs: SqlJobs, settings: Settings, submit: Submit, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    victim, other = submit("waits", until=str(flag)), submit("waits", until=str(flag))

    with running(settings):
        pids = wait_for_report(jobs, victim)
        wait_for_report(jobs, other)
        os.kill(pids["pid"], signal.SIGKILL)
        failed = wait_for(jobs, victim, JobState.FAILED, within=10)
        flag.touch()
        finished = wait_for(jobs, other, JobState.SUCCEEDED)
        wait_until(lambda: not alive(pids["child"]), "the child that the killed process left to be ended", 5)

    assert "killed by signal 9" in str(failed.error)
    assert finished.result == {"waited": True}


def test_a_killed_runner_leaves_no_process_and_its_successor_tells_the_truth(
    jobs: SqlJobs, settings: Settings, submit: Submit, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    struck, waiting = submit("waits", until=str(flag)), submit("quick")
    alone = settings.model_copy(update={"max_running_jobs": 1})

    with running(alone) as runner:
        pids = wait_for_report(jobs, struck)
        runner.kill()
        runner.wait(10)
        wait_until(lambda: not alive(pids["pid"]), "the job's process to die with its runner", 5)
        assert jobs.get(waiting.id).state is JobState.QUEUED
    with running(alone):
        interrupted = wait_for(jobs, struck, JobState.INTERRUPTED, within=10)
        wait_for(jobs, waiting, JobState.SUCCEEDED)

    assert interrupted.error == "the service ended while the job ran"
    os.kill(pids["child"], signal.SIGKILL)  # work that starts processes has to tie them to itself


@pytest.mark.parametrize("kind", ["waits", "hangs"])
def test_a_cancel_is_honoured_within_five_seconds(
    kind: str, jobs: SqlJobs, settings: Settings, submit: Submit, tmp_path: Path
) -> None:
    job = submit(kind, until=str(tmp_path / "never"))

    with running(settings):
        pids = wait_for_report(jobs, job)
        jobs.change(job.id, lambda found: machine.ask_to_cancel(found, now=time.time()))
        wait_for(jobs, job, JobState.CANCELLED, within=5)

    assert not any(alive(pid) for pid in pids.values())


def test_a_stopped_runner_lets_a_job_finish_or_interrupts_it(
    jobs: SqlJobs, settings: Settings, submit: Submit, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    finishing, endless = submit("waits", until=str(flag)), submit("hangs")

    with running(settings) as runner:
        pids = wait_for_report(jobs, endless) | wait_for_report(jobs, finishing)
        runner.terminate()
        flag.touch()
        assert runner.wait(settings.grace_seconds + 10) == 0

    assert jobs.get(finishing.id).state is JobState.SUCCEEDED
    assert jobs.get(endless.id).state is JobState.INTERRUPTED
    assert not any(alive(pid) for pid in pids.values())


def test_a_second_runner_waits_for_the_first(jobs: SqlJobs, settings: Settings, submit: Submit) -> None:
    with running(settings) as first:
        wait_until(lambda: last_beat(settings.data_dir) > 0, "the first runner to work")
        with running(settings) as second:
            assert submit("quick")
            first.terminate()
            first.wait(20)
            beat = last_beat(settings.data_dir)
            wait_until(lambda: last_beat(settings.data_dir) > beat, "the second runner to take over")
            assert second.poll() is None
