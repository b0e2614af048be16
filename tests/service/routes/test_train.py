"""The routes of training jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from quadra_matrix.service.app import create_app
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.attendant import log_file
from quadra_matrix.service.settings import ExecutorName, Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.testing.kubernetes import FakeKubernetes

REQUEST = {"model": "cancer", "data": {"source": "builtin", "name": "breast_cancer"}}
INLINE = {"model": "m", "data": {"source": "inline", "columns": ["a", "target"], "rows": [[1, 0], [2, 1]]}}


@pytest.fixture
def client(settings: Settings, jobs: SqlJobs) -> FlaskClient:
    return create_app(settings.model_copy(update={"queue_limit": 2})).test_client()


def ask(client: FlaskClient, body: Mapping[str, Any] = REQUEST, key: str | None = None) -> Any:
    return client.post("/api/train", json=body, headers={"Idempotency-Key": key} if key else {})


def test_a_training_is_queued(client: FlaskClient, jobs: SqlJobs) -> None:
    answer = ask(client)

    job = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/train/{job['id']}"
    assert (job["state"], job["kind"], job["fraction"], job["result"]) == ("queued", "train", 0, None)
    assert job["about"]["model"] == "cancer"
    assert client.get(answer.headers["Location"]).json == job
    assert jobs.request(job["id"])["data"] == REQUEST["data"]


def test_rows_are_kept_but_not_shown(client: FlaskClient, jobs: SqlJobs) -> None:
    job = ask(client, INLINE).json

    assert job["about"]["data"] == {"source": "inline"}
    assert jobs.request(job["id"])["data"]["rows"] == [[1, 0], [2, 1]]


def test_the_same_key_answers_the_same_job(client: FlaskClient) -> None:
    first, again, other = ask(client, key="k"), ask(client, key="k"), ask(client, INLINE, key="k")

    assert again.json == first.json
    assert (other.status_code, other.json["type"]) == (409, "urn:quadra-matrix:problem:key-reused")
    assert first.json["id"] in other.json["detail"]
    assert len(client.get("/api/train").json["jobs"]) == 1


def test_a_key_that_no_header_should_hold_is_refused(client: FlaskClient) -> None:
    answer = ask(client, key="two words")

    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"


def test_a_full_queue_says_when_to_come_back(client: FlaskClient) -> None:
    ask(client), ask(client)

    answer = ask(client)

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.mimetype == "application/problem+json"


def test_a_service_that_stops_takes_no_jobs(client: FlaskClient, settings: Settings) -> None:
    settings.stopping_file.parent.mkdir(parents=True, exist_ok=True)
    settings.stopping_file.touch()

    answer = ask(client)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_jobs_are_listed_page_by_page(client: FlaskClient) -> None:
    ids = [ask(client, key=str(number)).json["id"] for number in range(2)]
    newest = sorted(ids, reverse=True)

    first = client.get("/api/train?limit=1").json
    second = client.get(f"/api/train?limit=1&before={first['next']}").json

    assert [first["jobs"][0]["id"], second["jobs"][0]["id"]] == newest
    assert client.get(f"/api/train?before={second['next']}").json == {"jobs": [], "next": None}
    assert client.get("/api/train?state=failed").json["jobs"] == []
    assert len(client.get("/api/train?state=queued").json["jobs"]) == 2


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=101", "before=x", "page=2"])
def test_a_list_that_cannot_be_is_refused(query: str, client: FlaskClient) -> None:
    assert client.get(f"/api/train?{query}").status_code == 422


def test_a_waiting_job_is_cancelled_at_once(client: FlaskClient) -> None:
    job = ask(client).json

    first, again = (client.post(f"/api/train/{job['id']}/cancel") for _ in range(2))

    assert (first.status_code, first.json["state"]) == (202, "cancelled")
    assert again.json == first.json


def test_a_job_that_ended_is_not_cancelled(client: FlaskClient, jobs: SqlJobs) -> None:
    job = ask(client).json["id"]
    jobs.change(job, lambda found: machine.claim(found, owner="r", now=1.0, lease=1.0))
    jobs.change(job, lambda found: machine.interrupt(found, because="the service ended", now=3.0))

    answer = client.post(f"/api/train/{job}/cancel")
    shown = client.get(f"/api/train/{job}").json

    assert answer.status_code == 409
    assert "interrupted already" in answer.json["detail"]
    assert (shown["error"], shown["finished"]) == ("the service ended", "1970-01-01T00:00:03Z")


@pytest.mark.parametrize("path", ["/api/train/" + "0" * 32, "/api/train/" + "0" * 32 + "/cancel"])
def test_an_unknown_job_is_named(path: str, client: FlaskClient) -> None:
    answer = client.post(path) if path.endswith("cancel") else client.get(path)

    assert answer.status_code == 404
    assert "0" * 32 in answer.json["detail"]


def test_a_request_that_does_not_fit_names_the_field(client: FlaskClient) -> None:
    answer = ask(client, {**REQUEST, "folds": 1, "colour": "red"})

    assert answer.status_code == 422
    assert any("colour" in error["pointer"] for error in answer.json["errors"])


def test_a_jobs_log_is_its_last_part(client: FlaskClient, settings: Settings) -> None:
    job = ask(client).json["id"]
    empty = client.get(f"/api/train/{job}/logs")
    path = log_file(settings, job)
    path.parent.mkdir(parents=True)
    path.write_text("x" * 70_000 + "end\n")

    answer = client.get(f"/api/train/{job}/logs")

    assert empty.json == {"job": job, "text": ""}
    assert (len(answer.json["text"]), answer.json["text"][-4:]) == (65_536, "end\n")
    assert client.get(f"/api/train/{'0' * 32}/logs").status_code == 404


def test_a_log_that_cannot_be_read_is_a_problem(
    settings: Settings, jobs: SqlJobs, tmp_path: Path, monkeypatch: Any
) -> None:
    config = tmp_path / "kubeconfig"
    with FakeKubernetes() as cluster:
        cluster.kubeconfig(config)
    monkeypatch.setenv("KUBECONFIG", str(config))
    app = create_app(settings.model_copy(update={"executor": ExecutorName.KUBERNETES}))
    client = app.test_client()
    job = ask(client).json["id"]

    answer = client.get(f"/api/train/{job}/logs")

    assert (answer.status_code, answer.json["type"]) == (503, "urn:quadra-matrix:problem:job-log-unavailable")
