"""Jobs on a real Dask cluster: one scheduler and one worker, each a process of this machine."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.submit import submit_training
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.processes import start
from quadra_matrix.service.settings import ExecutorName, Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import JobState
from quadra_matrix.telemetry.traces import TraceStore
from tests.service.conftest import Submit, alive
from tests.service.jobs.kinds import KINDS
from tests.service.jobs.test_runner import wait_for, wait_for_report
from tests.services.process import accepts, free_port, needs, running, stop

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def cluster(settings: Settings, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of a scheduler and the process of its one worker."""
    program = Path(sys.executable).parent / "dask"
    if not program.exists():
        needs("dask", "pip install 'quadra-matrix[dask]'")
    port, log = free_port(), folder / "worker.log"
    address = f"tcp://127.0.0.1:{port}"
    scheduler = [program, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
    worker = [program, "worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
    with (
        running(scheduler, log=folder / "scheduler.log", ready=lambda: accepts(port), cwd=Path.cwd()),
        running(
            [*worker, "--local-directory", folder],
            log=log,
            ready=lambda: "Registered to" in log.read_text(),
            env=settings.child_environment(),
        ) as process,
    ):
        yield address, process


@contextlib.contextmanager
def runner(settings: Settings, address: str) -> Iterator[subprocess.Popen[bytes]]:
    there = settings.model_copy(update={"executor": ExecutorName.DASK, "dask_address": address})
    process = start("quadra_matrix.service.jobs", *(f"{kind}={work}" for kind, work in KINDS.items()), settings=there)
    try:
        yield process
    finally:
        stop(process)


def test_a_job_on_the_cluster_goes_on_with_the_trace_of_its_request(
    jobs: SqlJobs, settings: Settings, tmp_path: Path
) -> None:
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    asked = TrainingRequest(model="m", data=BuiltIn(name="iris"))
    carried = {"traceparent": f"00-{trace}-{caller}-01"}
    job = submit_training(jobs, asked, key=None, queue_limit=9, now=1000.0, carried=carried)

    with cluster(settings, tmp_path) as (address, _), runner(settings, address):
        wait_for(jobs, job, JobState.SUCCEEDED, within=60)

    *_, work = sorted(TraceStore(settings.traces_file).trace(trace), key=lambda span: span.end)
    assert (work.name, work.parent_id, work.attributes["quadra.job.id"]) == ("job train", caller, job.id)


def test_jobs_run_fail_are_cancelled_and_outlive_the_runner(
    jobs: SqlJobs, settings: Settings, submit: Submit, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    done, died, refused = submit("quick", model="m"), submit("dies"), submit("refuses")

    with cluster(settings, tmp_path) as (address, worker):
        with runner(settings, address):
            wait_for(jobs, done, JobState.SUCCEEDED, within=60)
            wait_for(jobs, died, JobState.FAILED)
            wait_for(jobs, refused, JobState.FAILED)
            unwanted = submit("hangs")
            wait_for_report(jobs, unwanted)
            jobs.change(unwanted.id, lambda found: machine.ask_to_cancel(found, now=1000.0))
            wait_for(jobs, unwanted, JobState.CANCELLED, within=5)
            lasting = submit("waits", until=str(flag))
            pids = wait_for_report(jobs, lasting)
        assert jobs.get(lasting.id).state is JobState.RUNNING
        assert alive(pids["pid"])
        with runner(settings, address):
            flag.touch()
            wait_for(jobs, lasting, JobState.SUCCEEDED)
            struck = submit("hangs")
            pids = wait_for_report(jobs, struck)
            worker.send_signal(signal.SIGKILL)
            lost = wait_for(jobs, struck, JobState.INTERRUPTED, within=15)
        assert not alive(pids["pid"])

    assert jobs.get(done.id).result == {"echo": {"model": "m"}}
    assert "killed by signal 9" in str(jobs.get(died.id).error)
    assert "lease" in str(lost.error) or "lost" in str(lost.error)
