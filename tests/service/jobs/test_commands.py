"""``quadra train`` and ``quadra jobs`` against a service that runs; ``quadra serve`` as a person starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quadra_matrix.cli import main
from quadra_matrix.client import request
from quadra_matrix.errors import ServiceUnreachable
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.follow import follow, hub_of
from quadra_matrix.service.sample import submit_sample
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.testing import FakeClock
from tests.service.conftest import REAL, Serve, Service
from tests.services.process import free_port, wait_until


@pytest.fixture
def service(serve: Serve) -> Iterator[Service]:
    with serve(REAL) as running:
        yield running


def quadra(service: Service, *words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, [*words, "--url", service.url], input=given)


@pytest.mark.slow
def test_a_training_is_followed_to_its_end(service: Service) -> None:
    hub = ["--hub", service.hub]
    ran = quadra(service, "train", "breast_cancer", "--model", "cancer", "--folds", "3", "--json", *hub)
    failed = quadra(service, "train", "iris", "--model", "refused", *hub)
    refused = quadra(service, "train", "iris", "--model", "m", "--folds", "1")
    whole = json.dumps({"model": "m", "data": {"source": "builtin", "name": "wine"}, "estimator": {"name": "mlp"}})
    detached = quadra(service, "train", "--request", "-", "--detach", "--json", given=whole)

    job = json.loads(ran.stdout)
    assert (ran.exit_code, job["state"], job["result"]) == (0, "succeeded", {"model": "cancer", "version": 1})
    assert job["about"]["folds"] == 3
    assert [line.split()[-1] for line in ran.stderr.splitlines()] == [
        "queued", "starting", "running", "loading", "fitting", "publishing"
    ]  # fmt: skip
    assert failed.exit_code == 1
    assert "must be a column of the data" in failed.stderr
    assert refused.exit_code == 3
    assert "folds" in refused.stderr
    assert (detached.exit_code, json.loads(detached.stdout)["about"]["estimator"]["name"]) == (0, "mlp")


@pytest.mark.slow
def test_jobs_are_listed_shown_followed_and_cancelled(service: Service, jobs: SqlJobs) -> None:
    made = json.loads(quadra(service, "train", "iris", "--model", "iris", "--detach", "--json").stdout)["id"]
    followed = quadra(service, "jobs", "follow", made, "--hub", service.hub)
    listed = quadra(service, "jobs", "list", "--state", "succeeded")
    shown = quadra(service, "jobs", "show", made, "--json")
    too_late = quadra(service, "jobs", "cancel", made)
    unknown = quadra(service, "jobs", "follow", "0" * 32, "--hub", service.hub)

    assert followed.exit_code == 0
    assert "accuracy 0.97" in followed.stdout
    assert made in listed.stdout
    assert json.loads(shown.stdout)["state"] == "succeeded"
    assert json.loads(quadra(service, "jobs", "list", "--json").stdout)["jobs"][0]["id"] == made
    assert (too_late.exit_code, "409" in too_late.stderr) == (1, True)
    assert (unknown.exit_code, "404" in unknown.stderr) == (1, True)


@pytest.mark.slow
def test_serve_makes_its_tables_trains_the_sample_and_stops(settings: Settings, tmp_path: Path) -> None:
    url, log = f"http://127.0.0.1:{settings.port}", tmp_path / "log"
    words = ["--port", str(settings.port), "--hub-port", str(settings.hub_port), "--workers", "1", "--sample"]
    command = [sys.executable, "-m", "quadra_matrix", "serve", "--data-dir", str(tmp_path / "new"), *words]

    with log.open("wb") as written:
        process = subprocess.Popen(command, stderr=written, cwd=tmp_path)
    try:
        wait_until(lambda: f"answers at {url}" in log.read_text() or process.poll() is not None, "the service")
        sample = request(f"{url}/api/train")["jobs"][0]
        process.send_signal(signal.SIGINT)
        assert process.wait(settings.grace_seconds + 40) == 0
    finally:
        process.kill()

    assert sample["about"]["model"] == "sample"
    assert "Traceback" not in log.read_text()


def test_the_sample_is_queued_once_and_again_after_it_failed(settings: Settings, jobs: SqlJobs) -> None:
    database = Database(settings.database_url)

    first, again = (submit_sample(settings, database) for _ in range(2))
    jobs.change(first.id, lambda found: machine.ask_to_cancel(found, now=1.0))
    anew = submit_sample(settings, database)
    database.close()

    assert again.id == first.id
    assert anew.id != first.id


@pytest.mark.parametrize("words", [[], ["iris"], ["--model", "m"]])
def test_a_training_without_data_or_model_is_a_usage_error(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["train", *words]).exit_code == 2


def test_a_request_file_that_is_not_json_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["train", "--request", "-"], input="{").exit_code == 2


def test_a_hub_that_is_not_there_is_given_up() -> None:
    clock = FakeClock()

    with pytest.raises(ServiceUnreachable):
        next(follow(f"ws://127.0.0.1:{free_port()}/ws", "0" * 32, patience=3.0, clock=clock))
    with pytest.raises(ServiceUnreachable):
        next(follow("not an address", "0" * 32))

    assert sum(clock.slept) >= 3.0


@pytest.mark.parametrize(
    ("url", "hub"),
    [
        ("http://127.0.0.1:5000", "ws://127.0.0.1:5001/ws"),
        ("https://models.example", "wss://models.example:444/ws"),
        ("http://[::1]:8000", "ws://[::1]:8001/ws"),
    ],
)
def test_the_hub_is_on_the_next_port(url: str, hub: str) -> None:
    assert hub_of(url) == hub
