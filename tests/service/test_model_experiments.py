"""An alias that is an experiment: two real versions over HTTP, in two apps that stand for two workers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from quadra_matrix.client import request
from quadra_matrix.errors import ServiceError
from quadra_matrix.experiments.model import alias_of
from quadra_matrix.service.app import create_app
from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels
from tests.service.test_main_job import served
from tests.services.process import free_port

ROWS = [[5.1, 3.5, 1.4, 0.2]]
EXPERIMENT = "model iris@production"
TRIAL = "/api/models/iris/aliases/production/experiment"
QUADRA = Path(sys.executable).with_name("quadra")


def settings_with_two_versions(settings: Settings) -> Settings:
    """Publish two versions of the model ``iris``; ``production`` points at the first."""
    database = Database(settings.database_url)
    upgrade(database)
    registry, data = (
        Registry(SqlModels(database), settings.models_dir),
        Datasets(SqlDatasets(database), settings.datasets_dir),
    )
    for estimator in ("linear", "random_forest"):
        asked = {"model": "iris", "data": {"source": "builtin", "name": "iris"}, "estimator": {"name": estimator}}
        train(TrainingRequest.model_validate(asked), data=data, registry=registry, report=lambda progress: None)
    database.close()
    return settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    ports = {"port": free_port(), "hub_port": free_port()}
    return settings_with_two_versions(Settings(data_dir=tmp_path / "data", default_model="iris", **ports))


@pytest.fixture
def workers(settings: Settings) -> tuple[FlaskClient, FlaskClient]:
    return create_app(settings).test_client(), create_app(settings).test_client()


@pytest.fixture
def client(workers: tuple[FlaskClient, FlaskClient]) -> FlaskClient:
    return workers[0]


def predict(client: FlaskClient, **asked: object) -> Any:
    answer = client.post("/api/predict", json={"rows": ROWS, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json


def begin(client: FlaskClient, **asked: object) -> Any:
    answer = client.post(TRIAL, json={"challengers": {"2": 0.5}, "start": True, **asked})
    assert answer.status_code == 201, answer.text
    return answer.json


def test_units_keep_their_version_and_outcomes_decide(workers: tuple[FlaskClient, FlaskClient]) -> None:
    """The main job: champion and challenger by unit, outcomes through another worker, a decision, a new champion."""
    chance = random.Random(7)
    one, other = workers
    begun = begin(one, planned_users=600)
    served: dict[str, int] = {}
    for number in range(600):
        answer = predict(one, unit=f"customer-{number}")
        served[f"customer-{number}"] = answer["version"]
        assert answer["experiment"] == {"name": EXPERIMENT, "variant": str(answer["version"]), "counted": True}
        if chance.random() < {1: 0.1, 2: 0.4}[answer["version"]]:
            outcome = {"experiment": EXPERIMENT, "user_id": f"customer-{number}", "value": 9.5, "event_id": f"{number}"}
            assert [other.post("/api/outcomes", json=outcome).status_code for _ in range(2)] == [204, 204]
    results = one.get(f"/api/experiments/{EXPERIMENT}/results").json
    again = {unit: predict(one, unit=unit)["version"] for unit in list(served)[:50]}

    assert begun["variants"] == [
        {"name": "1", "weight": 0.5, "config": {"model_version": "1"}},
        {"name": "2", "weight": 0.5, "config": {"model_version": "2"}},
    ]
    assert again == dict(list(served.items())[:50])
    assert {name: found["users"] for name, found in results["variants"].items()} == {
        str(version): list(served.values()).count(version) for version in (1, 2)
    }
    assert results["statistical_significance"]["2"]["lift"] > 1
    assert results["statistical_significance"]["2"]["p_value"] < 0.001

    ended = other.post(f"/api/experiments/{EXPERIMENT}/complete", json={"winner": "2"})

    assert ended.status_code == 200
    assert other.get("/api/models/iris").json["aliases"]["production"] == 2, "the winner is what the alias points at"
    assert {predict(one, unit=unit)["version"] for unit in served} == {2}, "every worker follows a change at once"
    assert predict(one)["version"] == 2


def test_without_a_unit_or_with_a_version_nothing_changes(client: FlaskClient) -> None:
    before = predict(client)
    begin(client, challengers={"2": 0.99})

    answers = [predict(client), predict(client, alias="candidate"), predict(client, version=1, unit="ada")]
    results = client.get(f"/api/experiments/{EXPERIMENT}/results").json

    assert [answer["version"] for answer in answers] == [1, 2, 1]
    assert [set(answer) for answer in answers] == [set(before)] * 3
    assert "experiment" not in before
    assert sum(found["impressions"] for found in results["variants"].values()) == 0


def test_a_unit_of_an_alias_without_an_experiment_gets_the_alias(client: FlaskClient) -> None:
    client.post(TRIAL, json={"challengers": {"2": 0.5}})

    for asked in ({"unit": "ada"}, {"unit": "ada", "alias": "candidate"}):
        assert "experiment" not in predict(client, **asked)


def test_a_paused_experiment_serves_the_champion_and_counts_nobody(client: FlaskClient) -> None:
    begin(client)
    client.post(f"/api/experiments/{EXPERIMENT}/pause")

    answers = [predict(client, unit=f"u{number}") for number in range(20)]

    assert {answer["version"] for answer in answers} == {1}
    assert {answer["experiment"]["counted"] for answer in answers} == {False}


def test_an_end_without_a_winner_leaves_the_alias_where_it_is(client: FlaskClient) -> None:
    begin(client)
    client.post(f"/api/experiments/{EXPERIMENT}/complete")

    assert client.get("/api/models/iris").json["aliases"]["production"] == 1
    assert {predict(client, unit=f"u{number}")["version"] for number in range(20)} == {1}


def test_another_experiment_that_ends_moves_no_alias(client: FlaskClient) -> None:
    client.post("/api/experiments", json={"name": "page", "variants": [{"name": "1"}, {"name": "2"}]})
    client.post("/api/experiments/page/start")

    assert client.post("/api/experiments/page/complete", json={"winner": "2"}).status_code == 200
    assert client.get("/api/models/iris").json["aliases"]["production"] == 1


def test_an_experiment_over_something_else_than_versions_is_named(client: FlaskClient) -> None:
    variants = [{"name": name, "config": {"model_version": name}} for name in ("one", "two")]
    client.post("/api/experiments", json={"name": EXPERIMENT, "variants": variants})
    client.post(f"/api/experiments/{EXPERIMENT}/start")

    answer = client.post("/api/predict", json={"rows": ROWS, "unit": "ada"})

    assert answer.status_code == 404
    assert "version 'one' of model 'iris'" in answer.json["detail"] or "version 'two'" in answer.json["detail"]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"challengers": {"3": 0.5}}, 404, "version 3 of model 'iris'"),
        ({"challengers": {"two": 0.5}}, 422, ""),
        ({"challengers": {"1": 0.5}}, 400, "other versions than the champion's"),
        ({"challengers": {"2": 1}}, 422, ""),
        ({"challengers": {"2": 0.6, "02": 0.6}}, 422, ""),
        ({"challengers": {}}, 422, ""),
    ],
)
def test_a_trial_that_cannot_be_is_refused(client: FlaskClient, asked: object, status: int, said: str) -> None:
    answer = client.post(TRIAL, json=asked)

    assert answer.status_code == status
    assert said in answer.text


@pytest.mark.parametrize(
    ("name", "found"),
    [("model iris@production", ("iris", "production")), ("iris@production", None), ("model iris", None)],
)
def test_the_name_of_an_experiment_tells_its_alias(name: str, found: tuple[str, str] | None) -> None:
    assert alias_of(name) == found


def quadra(url: str, *words: str) -> Any:
    ran = subprocess.run(
        [QUADRA, "experiments", *words, "--json", "--url", url], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.slow
def test_the_commands_run_an_experiment_of_a_real_service(settings: Settings, tmp_path: Path) -> None:
    """Two workers of ``quadra serve``: each request may meet either, and the results hold what both counted."""
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps({"name": "page", "variants": [{"name": "control"}, {"name": "treatment"}]}))

    with served(settings) as service:
        url = service.url
        assert quadra(url, "create", str(draft))["status"] == "draft"
        assert quadra(url, "start", "page")["status"] == "running"
        assert quadra(url, "stop", "page", "--pause")["status"] == "paused"
        quadra(url, "stop", "page", "--winner", "treatment")
        request(url + TRIAL, method="POST", body={"challengers": {"2": 0.5}, "start": True})
        answers = [
            request(f"{url}/api/predict", method="POST", body={"rows": ROWS, "unit": f"u{number}"})
            for number in range(100)
        ]
        for number in range(0, 100, 4):
            outcome = {"experiment": EXPERIMENT, "user_id": f"u{number}"}
            request(f"{url}/api/outcomes", method="POST", body=outcome)
        listed = quadra(url, "list")
        results = quadra(url, "results", EXPERIMENT)
        exported = quadra_export(url, tmp_path / "out.json")
        with pytest.raises(ServiceError, match="404"):
            request(f"{url}/api/outcomes", method="POST", body={"experiment": "none", "user_id": "u"})

    assert [(each["name"], each["status"]) for each in listed] == [(EXPERIMENT, "running"), ("page", "completed")]
    assert all(answer["experiment"]["counted"] for answer in answers), "every worker follows a change at once"
    assert sum(found["users"] for found in results["variants"].values()) == 100
    assert sum(found["conversions"] for found in results["variants"].values()) == 25
    assert exported["definition"]["name"] == exported["results"]["experiment_name"] == EXPERIMENT


def quadra_export(url: str, output: Path) -> Any:
    assert quadra(url, "export", EXPERIMENT, "--output", str(output)) == {"file": str(output)}
    return json.loads(output.read_text())
