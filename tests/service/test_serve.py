"""The service as processes: it answers, survives the death of a part, stops in order and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from quadra_matrix.client import request
from quadra_matrix.errors import AddressInUse, ServiceError, ServiceUnreachable
from quadra_matrix.service.jobs.__main__ import last_beat
from quadra_matrix.service.jobs.follow import follow
from quadra_matrix.service.serve import require_free
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import JobState
from tests.service.conftest import Serve, Service, Submit, alive, children, command, family
from tests.services.process import wait_until

pytestmark = pytest.mark.slow


def answers(service: Service) -> bool:
    try:
        return service.get() > 0
    except (ServiceError, ServiceUnreachable):
        return False


def part(service: Service, word: str) -> int:
    """Return the process number of the part whose command line holds ``word``."""
    found = [
        pid for pid in children(service.process.pid) if word in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    ]
    assert len(found) == 1
    return found[0]


def test_a_dead_part_is_started_again(serve: Serve, jobs: SqlJobs, submit: Submit) -> None:
    with serve() as service:
        for victim in (service.get(), part(service, "http"), part(service, "hub")):
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda pid=victim: not alive(pid), "the part to die")  # type: ignore[misc]
            wait_until(lambda: answers(service), "the HTTP server to answer again", 20)
        os.kill(part(service, "quadra_matrix.service.jobs"), signal.SIGKILL)
        job = submit("quick")
        wait_until(lambda: jobs.get(job.id).state is JobState.SUCCEEDED, "the new runner to work", 30)
        wait_until(lambda: request(f"http://127.0.0.1:{service.settings.hub_port}/health") == {"status": "ok"}, "hub")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_graceful(number: signal.Signals, serve: Serve, settings: Settings) -> None:
    answered: list[int] = []

    with serve() as service:
        everyone = family(service.process.pid)
        slow = threading.Thread(target=lambda: answered.append(service.get("/slow")))
        slow.start()
        assert service.get("/health/ready")
        with connect(service.hub) as socket:
            begun = time.monotonic()
            service.process.send_signal(number)
            wait_until(lambda: not_ready(service), "readiness to turn", 1)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=5)
        code = service.process.wait(settings.grace_seconds)
        took = time.monotonic() - begun
        slow.join(5)

    assert code == 0
    assert len(answered) == 1, "the request in flight was answered"
    assert took < settings.grace_seconds
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1001
    assert len(everyone) >= 5
    assert not [pid for pid in everyone if alive(pid)]


def not_ready(service: Service) -> bool:
    try:
        service.get("/health/ready")
    except ServiceError as refused:
        return refused.status == 503
    return False


def test_a_killed_service_takes_every_process_along_and_starts_again(
    serve: Serve, jobs: SqlJobs, submit: Submit, tmp_path: Path, settings: Settings
) -> None:
    job = submit("hangs")
    with serve() as service:
        wait_until(lambda: bool(jobs.get(job.id).metrics), "the job to run")
        everyone = family(service.process.pid)
        service.process.kill()
        service.process.wait(10)
        wait_until(lambda: not [pid for pid in everyone if alive(pid)], "every process to end", 5)
    assert len(everyone) >= 6

    with serve() as service:
        wait_until(lambda: jobs.get(job.id).state is JobState.INTERRUPTED, "the job's true state", 10)
        assert answers(service)


def test_following_a_job_survives_the_hub(serve: Serve, jobs: SqlJobs, submit: Submit, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    job = submit("waits", until=str(flag))

    with serve() as service:
        following = follow(service.hub, job.id)
        news = [next(following) for _ in range(2)]
        os.kill(part(service, "hub"), signal.SIGKILL)
        flag.touch()
        news += following

    assert [one.sequence for one in news] == [event.sequence for event in jobs.read(0, job=job.id)]
    assert news[-1].data.result == {"waited": True}


def test_a_second_service_is_refused(serve: Serve, settings: Settings) -> None:
    with serve() as service:
        with pytest.raises(AddressInUse, match=str(settings.port)):
            require_free(settings.host, settings.port)
        second = subprocess.run(command(), env=settings.child_environment(), capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert f"a service uses {settings.data_dir} already" in second.stderr
        assert answers(service)


def test_a_free_port_is_not_refused() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]

    require_free("127.0.0.1", port)


def test_the_runner_shows_that_it_works(serve: Serve, settings: Settings) -> None:
    assert last_beat(settings.data_dir) == 0

    with serve():
        wait_until(lambda: time.time() - last_beat(settings.data_dir) < 5, "the beat of the runner")
