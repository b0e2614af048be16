"""The assembled service: every route is documented, every error is a problem, nothing leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from quadra_matrix.service.app import create_app
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from tests.services.process import free_port

PATHS = {
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/api/train",
    "/api/train/{job}",
    "/api/train/{job}/cancel",
    "/api/train/{job}/logs",
    "/api/datasets",
    "/api/datasets/{id}",
    "/api/models",
    "/api/models/{model}",
    "/api/models/{model}/versions/{version}",
    "/api/models/{model}/aliases/{alias}",
    "/api/predict",
    "/api/experiments",
    "/api/experiments/{name}",
    "/api/experiments/{name}/results",
    "/api/experiments/{name}/{chart}.svg",
    "/api/experiments/{name}/{move}",
    "/api/outcomes",
    "/api/models/{model}/aliases/{alias}/experiment",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}",
    "/v2/models/{name}/versions/{version}/ready",
    "/v2/models/{name}/versions/{version}/infer",
    "/api/session",
    "/admin/circuit-breakers",
    "/admin/circuit-breakers/{name}",
    "/api/traces",
    "/api/traces/{trace_id}",
}
SCHEMAS = {
    "TrainingRequest",
    "TrainingResponse",
    "InferenceRequest",
    "InferenceResponse",
    "MetricsResponse",
    "HealthCheckResponse",
    "ErrorResponse",
    "WebSocketMessage",
}


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return client_of(Settings(data_dir=tmp_path))


def client_of(settings: Settings) -> FlaskClient:
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    return create_app(settings).test_client()


@pytest.mark.parametrize("address", ["/api/openapi.json", "/api/openapi-3.1.json"])
def test_every_route_is_in_a_valid_document(client: FlaskClient, address: str) -> None:
    document = client.get(address).json

    validate(document)
    assert set(document["paths"]) == PATHS
    assert set(document["components"]["schemas"]) >= SCHEMAS


def test_the_messages_of_the_hub_are_documented(client: FlaskClient) -> None:
    document = client.get("/api/asyncapi.json").json

    assert document["channels"]["ws"]["address"] == "/ws"
    assert "WebSocketMessage" in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/health", None, 405),
        ("POST", "/api/predict", b"{", 400),
        ("POST", "/api/predict", b'{"rows": [[NaN]]}', 400),
        ("POST", "/api/predict", b'{"rows": [[1]], "more": 1}', 422),
        ("POST", "/api/predict", b'{"rows": [[1]]}', 404),
        ("POST", "/api/train", b'{"model": "x"}', 422),
        ("GET", "/api/train/00000000000000000000000000000000", None, 404),
        ("GET", "/api/datasets/none", None, 422),
        ("GET", "/v2/models/none", None, 404),
        ("GET", "/api/experiments/none", None, 404),
        ("POST", "/api/experiments", b'{"name": "x"}', 400),
        ("GET", "/admin/circuit-breakers/none", None, 404),
        ("POST", "/api/outcomes", b'{"experiment": "none", "user_id": "ada"}', 404),
        ("POST", "/api/models/none/aliases/production/experiment", b'{"challengers": {"2": 0.5}}', 404),
    ],
)
def test_every_error_is_a_problem(client: FlaskClient, method: str, path: str, body: bytes | None, status: int) -> None:
    answer = client.open(path, method=method, data=body, content_type="application/json" if body else None)

    assert answer.content_type == "application/problem+json"
    assert {"title", "status", "instance", "trace_id"} <= set(answer.json)
    assert (answer.status_code, answer.json["instance"]) == (status, path)


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("POST", "/api/experiments", {"name": "x"}, "invalid-value"),
        ("GET", "/admin/circuit-breakers/none", None, "circuit-unknown"),
    ],
)
def test_what_is_refused_has_a_type_of_its_own(
    client: FlaskClient, method: str, path: str, body: dict[str, str] | None, name: str
) -> None:
    assert client.open(path, method=method, json=body).json["type"] == f"urn:quadra-matrix:problem:{name}"


def test_a_database_that_is_away_is_a_503_for_every_route(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://me:hunter2@127.0.0.1:1/name")

    client = create_app(settings).test_client()

    for path in ("/api/train", "/api/experiments"):
        answer = client.get(path)
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
        assert "hunter2" not in answer.text


def test_a_redis_that_is_away_is_asked_less_often_and_operators_see_why(tmp_path: Path) -> None:
    client = client_of(Settings(data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{free_port()}/0"))

    for _ in range(3):
        assert client.get("/health").get_json()["checks"]["redis"]["state"] == "failed"
    circuits = client.get("/admin/circuit-breakers").get_json()["circuit_breakers"]

    assert ("redis", "open") in [(circuit["name"], circuit["state"]) for circuit in circuits]


@pytest.mark.parametrize("path", ["/admin/circuit-breakers", "/api/experiments", "/api/traces"])
def test_nobody_but_this_machine_sees_circuits_experiments_and_traces_unasked(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401


def test_nobody_but_this_machine_puts_an_experiment_behind_an_alias_unasked(client: FlaskClient) -> None:
    path = "/api/models/iris/aliases/production/experiment"

    answer = client.post(path, json={"challengers": {"2": 0.5}}, headers={"X-Forwarded-For": "203.0.113.9"})

    assert answer.status_code == 401
