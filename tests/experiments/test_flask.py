"""The Flask decorator and endpoints, the OpenFeature provider, model experiments, and the commands."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask, g
from flask.testing import FlaskClient
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import TargetingKeyMissingError
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from quadra_matrix.cli import main
from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.experiments.flask import COOKIE, ab_test, is_local_request, setup_experiments
from quadra_matrix.experiments.model import ModelExperiment
from quadra_matrix.experiments.openfeature import ExperimentProvider

VARIANTS: list[dict[str, Any]] = [
    {"name": "control", "weight": 1, "config": {"on": False, "size": 1, "colour": "blue", "list": [1]}},
    {"name": "treatment", "weight": 1, "config": {"on": True, "size": 2, "colour": "red", "list": [2]}},
]


@pytest.fixture
def framework(tmp_path: Path) -> Iterator[ABTestingFramework]:
    made = ABTestingFramework(tmp_path / "experiments")
    yield made
    made.close()


@pytest.fixture
def app(framework: ABTestingFramework) -> Flask:
    made = Flask(__name__)
    made.secret_key = "a key for tests"
    setup_experiments(made, framework)
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def impressions(framework: ABTestingFramework) -> int:
    found = framework.get_experiment_results("exp")["variants"]
    return sum(variant["impressions"] for variant in found.values())


def test_a_stranger_keeps_the_variant_by_a_signed_cookie(app: Flask, framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()

    @app.get("/")
    @ab_test(framework, "exp")
    def page() -> str:
        return str(g.ab_variant["variant_name"])

    client = app.test_client()
    first = client.get("/")
    again = {client.get("/").text for _ in range(20)}
    client.set_cookie(COOKIE, "forged")
    forged = client.get("/")

    cookie = first.headers["Set-Cookie"]
    assert again == {first.text}
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "Set-Cookie" in forged.headers


def test_the_cookie_is_secure_over_https(app: Flask, framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()
    app.get("/")(ab_test(framework, "exp")(lambda: "ok"))

    assert "Secure" in app.test_client().get("/", base_url="https://localhost").headers["Set-Cookie"]


def test_one_request_is_one_exposure(app: Flask, framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()

    @ab_test(framework, "exp")
    def part() -> str:
        return str(g.ab_variant["variant_name"])

    @app.get("/")
    @ab_test(framework, "exp")
    def page() -> str:
        return part() + part()

    app.test_client().get("/")

    assert impressions(framework) == 1


def test_async_views_and_known_users(app: Flask, framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS, {"plan": "pro"}, forced={"jo": "treatment"}).start()

    @ab_test(framework, "exp", unit=lambda: "jo", attributes=lambda: {"plan": "pro"})
    async def page() -> str:
        return str(g.ab_variant["variant_name"])

    with app.test_request_context("/"):
        assert asyncio.run(page()) == "treatment"


def test_an_async_view_stays_async(framework: ABTestingFramework) -> None:
    async def page() -> str:
        return ""

    assert inspect.iscoroutinefunction(ab_test(framework, "exp")(page))


def test_without_a_key_a_stranger_is_an_error_that_says_what_to_set(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()
    app = Flask(__name__)
    app.testing = True
    app.get("/")(ab_test(framework, "exp")(lambda: "ok"))

    with pytest.raises(InvalidValue, match="SECRET_KEY"):
        app.test_client().get("/")


def test_an_experiment_lives_over_http(client: FlaskClient, framework: ABTestingFramework) -> None:
    created = client.post("/api/experiments", json={"name": "exp", "variants": VARIANTS})
    client.post("/api/experiments/exp/start")
    client.post("/api/experiments/exp/cover", json={"coverage": 1})
    framework.get_variant("exp", "jo")
    reported = client.post("/api/outcomes", json={"experiment": "exp", "user_id": "jo", "value": 3, "event_id": "1"})
    client.post("/api/outcomes", json={"experiment": "exp", "user_id": "jo", "value": 3, "event_id": "1"})
    results = client.get("/api/experiments/exp/results").get_json()
    chart = client.get("/api/experiments/exp/rates.svg")
    ended = client.post("/api/experiments/exp/complete", json={"winner": "treatment"}).get_json()

    assert (created.status_code, reported.status_code) == (201, 204)
    assert sum(variant["conversions"] for variant in results["variants"].values()) == 1
    assert sum(variant["total_value"] for variant in results["variants"].values()) == 3
    assert chart.mimetype == "image/svg+xml"
    assert (ended["status"], ended["winner"]) == ("completed", "treatment")
    assert [each["name"] for each in client.get("/api/experiments").get_json()["experiments"]] == ["exp"]
    assert client.get("/api/experiments/exp").get_json()["version"] == 4


def test_any_process_starts_what_another_created_and_takes_its_outcomes(client: FlaskClient, tmp_path: Path) -> None:
    other = ABTestingFramework(tmp_path / "experiments")
    other.create_experiment("exp", VARIANTS)

    started = client.post("/api/experiments/exp/start")
    other.refresh()
    other.get_variant("exp", "jo")
    other.close()
    reported = client.post("/api/outcomes", json={"experiment": "exp", "user_id": "jo"})
    found = client.get("/api/experiments/exp/results").get_json()["variants"].values()

    assert (started.status_code, reported.status_code) == (200, 204)
    assert sum(variant["conversion_rate"] or 0 for variant in found) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/experiments/nope", None, 404),
        ("POST", "/api/experiments", [], 400),
        ("POST", "/api/experiments", {"name": "x"}, 400),
        ("POST", "/api/experiments/exp/pause", None, 409),
        ("POST", "/api/experiments/exp/start", {"now": 1}, 400),
        ("POST", "/api/experiments/exp/reweight", None, 400),
        ("POST", "/api/experiments/exp/reweight", {"weights": 1}, 400),
        ("POST", "/api/outcomes", {"variant": "control"}, 400),
        ("POST", "/api/outcomes", {"experiment": "exp", "user_id": 1}, 400),
        ("POST", "/api/outcomes", {"experiment": "exp", "user_id": "u", "custom_metrics": [1]}, 400),
        ("POST", "/api/outcomes", {"experiment": "exp", "user_id": "u", "custom_metrics": []}, 400),
        ("POST", "/api/outcomes", {"experiment": None, "user_id": "u"}, 400),
        ("POST", "/api/outcomes", {"experiment": "exp", "user_id": None}, 400),
        ("POST", "/api/outcomes", {"experiment": "exp", "user_id": "u", "value": "9"}, 400),
        ("POST", "/api/outcomes", {"experiment": "nope", "user_id": "u"}, 404),
    ],
)
def test_a_refusal_is_a_problem_document(
    client: FlaskClient, framework: ABTestingFramework, method: str, path: str, body: object, status: int
) -> None:
    framework.create_experiment("exp", VARIANTS)

    answer = client.open(path, method=method, json=body) if body is not None else client.open(path, method=method)

    problem = json.loads(answer.data)
    assert answer.mimetype == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status)
    assert problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "exp/tall.svg", 404), ("POST", "exp/fly", 404), ("POST", "exp/results", 405)],
)
def test_a_chart_or_a_move_that_does_not_exist_has_no_route(
    client: FlaskClient, framework: ABTestingFramework, method: str, path: str, status: int
) -> None:
    framework.create_experiment("exp", VARIANTS)

    assert client.open(f"/api/experiments/{path}", method=method).status_code == status


def test_only_operators_run_experiments_and_everybody_reports(
    client: FlaskClient, framework: ABTestingFramework
) -> None:
    framework.create_experiment("exp", VARIANTS).start()
    stranger = {"REMOTE_ADDR": "203.0.113.9"}

    refused = client.get("/api/experiments", environ_overrides=stranger)
    proxied = client.get("/api/experiments", headers={"X-Forwarded-For": "203.0.113.9"})
    reported = client.post("/api/outcomes", json={"experiment": "exp", "user_id": "u"}, environ_overrides=stranger)

    assert (refused.status_code, proxied.status_code, reported.status_code) == (403, 403, 204)


def test_a_request_without_an_address_is_not_local(app: Flask) -> None:
    with app.test_request_context("/", environ_overrides={"REMOTE_ADDR": ""}):
        assert not is_local_request()


def test_openfeature_resolves_every_type_and_tracks(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()
    api.set_provider(ExperimentProvider(framework), "ab")
    flags, jo = api.get_client("ab"), EvaluationContext("jo")

    details = flags.get_string_details("exp", "none", jo)
    config = framework.get_variant("exp", "jo")["config"]

    assert details.reason == Reason.SPLIT
    assert details.value == details.variant
    assert flags.get_boolean_value("exp:on", False, jo) is config["on"]
    assert flags.get_integer_value("exp:size", 0, jo) == config["size"]
    assert flags.get_float_value("exp:size", 0.0, jo) == float(config["size"])
    assert flags.get_object_value("exp", {}, jo) == config
    assert flags.get_object_value("exp:list", [], jo) == config["list"]
    flags.track("exp", jo, TrackingEventDetails(9.0, {"pages": 3, "page": "home"}))
    flags.track("latency", jo, TrackingEventDetails(12.0))
    found = framework.get_experiment_results("exp")["variants"][details.variant]
    assert (found["conversions"], found["total_value"]) == (1, 9.0)
    assert {name: each["total"] for name, each in found["custom_metrics"].items()} == {"pages": 3.0, "latency": 12.0}


def test_openfeature_says_why_a_default_is_used(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()
    api.set_provider(ExperimentProvider(framework), "ab")
    flags, jo = api.get_client("ab"), EvaluationContext("jo")

    codes = [
        flags.get_string_details("nope", "d", jo).error_code,
        flags.get_string_details("exp:nope", "d", jo).error_code,
        flags.get_boolean_details("exp:size", True, jo).error_code,
        flags.get_integer_details("exp:on", 7, jo).error_code,
        flags.get_object_details("exp:colour", {}, jo).error_code,
        flags.get_string_details("exp", "d").error_code,
    ]

    assert [code and code.name for code in codes] == [
        "FLAG_NOT_FOUND", "FLAG_NOT_FOUND", "TYPE_MISMATCH", "TYPE_MISMATCH", "TYPE_MISMATCH", "TARGETING_KEY_MISSING",
    ]  # fmt: skip
    with pytest.raises(TargetingKeyMissingError):
        ExperimentProvider(framework).track("exp")


def test_an_alias_can_be_an_experiment_over_versions(framework: ABTestingFramework) -> None:
    alias = ModelExperiment(framework, "iris", "production")
    nothing = alias.choose("jo")
    experiment = alias.create("3", {"4": 0.5})
    draft = alias.choose("jo")
    experiment.start()
    served = {choice.version for number in range(50) if (choice := alias.choose(f"u{number}"))}
    choice = alias.choose("jo")
    assert choice is not None
    framework.track_conversion(choice.experiment, choice.variant, user_id="jo")
    experiment.complete(winner="4")
    winner = alias.choose("jo")

    assert nothing is None
    assert draft is None
    assert served == {"3", "4"}
    assert winner is not None
    assert (winner.version, winner.in_experiment) == ("4", False)


def test_an_alias_whose_experiment_ended_without_a_winner_is_nobodys(framework: ABTestingFramework) -> None:
    alias = ModelExperiment(framework, "iris", "production")
    experiment = alias.create("3", {"4": 0.5})
    experiment.start()
    experiment.complete()

    assert alias.choose("jo") is None


def test_an_experiment_over_something_else_is_not_the_alias(framework: ABTestingFramework) -> None:
    framework.create_experiment("model iris@production", VARIANTS).start()

    assert ModelExperiment(framework, "iris", "production").choose("jo") is None


@pytest.mark.parametrize("challengers", [{}, {"4": 1.0}], ids=str)
def test_challengers_leave_something_to_the_champion(
    framework: ABTestingFramework, challengers: dict[str, float]
) -> None:
    with pytest.raises(InvalidValue, match="challengers"):
        ModelExperiment(framework, "iris", "production").create("3", challengers)


def run(*words: str, code: int = 0, given: str | None = None) -> str:
    ended = CliRunner().invoke(main, ["experiments", *words], input=given)
    assert ended.exit_code == code, ended.output
    return ended.output


def test_the_commands_run_an_experiment_in_a_folder(tmp_path: Path) -> None:
    storage = ("--storage", str(tmp_path))

    run("create", "-", *storage, given=json.dumps({"name": "exp", "variants": VARIANTS}))
    assert "running" in run("start", "exp", *storage)
    assert "paused" in run("stop", "exp", "--pause", *storage)
    run("start", "exp", *storage)
    assert "undecided" in run("results", "exp", *storage)
    assert json.loads(run("results", "exp", "--json", *storage))["status"] == "running"
    assert json.loads(run("stop", "exp", "--winner", "treatment", "--json", *storage))["winner"] == "treatment"
    assert "completed" in run("list", *storage)
    assert json.loads(run("list", "--json", *storage))[0]["name"] == "exp"
    run("export", "exp", "--output", str(tmp_path / "out.json"), "--json", *storage)
    assert json.loads((tmp_path / "out.json").read_text()).keys() == json.loads(run("export", "exp", *storage)).keys()


def test_a_refused_command_says_why(tmp_path: Path) -> None:
    storage = ("--storage", str(tmp_path))

    assert "no experiment is called 'nope'" in run("start", "nope", *storage, code=1)
    assert "is not JSON" in run("create", "-", *storage, code=2, given="{")
    assert "no winner" in run("stop", "exp", "--pause", "--winner", "a", *storage, code=2)


def test_power_tells_users_and_days() -> None:
    rows = json.loads(run("power", "--rate", "0.05", "--change", "0.01", "--per-day", "1000", "--json"))

    assert [row["design"] for row in rows] == ["planned size", "no plan"]
    assert rows[0]["users"] == pytest.approx(1.05 * 16_320, rel=0.02)
    assert rows[0]["days"] == 18
    assert "planned size" in run("power", "--rate", "0.05", "--change", "0.01")
