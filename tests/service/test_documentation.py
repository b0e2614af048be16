"""The service's documents tell the truth about it, and the settings decide who reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from pydantic import TypeAdapter

from quadra_matrix.api.spec import example_requests
from quadra_matrix.cli import main
from quadra_matrix.service.app import create_app
from quadra_matrix.service.circuits import CircuitList, CircuitView
from quadra_matrix.service.routes import protocol_messages as protocol
from quadra_matrix.service.settings import Settings
from tests.api.official import assert_asyncapi
from tests.api.serving import served
from tests.service.wired import settings_with_iris
from tests.services.process import free_port

IRIS = {"name": "iris", "model": "iris", "alias": "production", "version": "1"}
PAGES = ["/api/docs", "/api/redoc", "/api/asyncapi"]
DOCUMENTS = ["/api/openapi.json", "/api/openapi-3.1.json", "/api/asyncapi.json"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    return create_app(settings_with_iris(tmp_path_factory.mktemp("wired"))).test_client()


def filled(path: str, **values: str) -> str:
    """Return a path of a document with its variable parts filled in."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "0" * 32), path)


def document_of(client: FlaskClient) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/api/openapi-3.1.json").json
    return document


def test_lint_has_nothing_to_remark(client: FlaskClient) -> None:
    with served(client.application) as address:
        ran = CliRunner().invoke(main, ["api", "lint", "--url", address])

    assert (ran.exit_code, ran.stdout) == (0, ""), ran.output


def test_the_messages_of_the_hub_are_described_as_asyncapi_wants(client: FlaskClient) -> None:
    document = client.get("/api/asyncapi.json").json

    assert_asyncapi(document)
    assert document["channels"]


def test_every_documented_example_is_accepted(client: FlaskClient) -> None:
    examples = list(example_requests(document_of(client)))

    answers = {
        (path, name): client.open(filled(path, **IRIS), method=method, json=body).status_code
        for method, path, name, body in examples
    }

    assert len(answers) == 7
    assert set(answers.values()) <= {200, 202}, answers


def test_every_operation_says_what_it_answers_while_the_database_is_away(tmp_path: Path) -> None:
    away = "postgresql://me@127.0.0.1:1/name"
    client = create_app(Settings(data_dir=tmp_path, database_url=away)).test_client()
    table = {"data": b"a,b\n1,2\n", "content_type": "text/csv"}
    bodies = {(path, method): {"json": body} for method, path, _, body in example_requests(document_of(client))} | {
        ("/api/datasets", "post"): table,
        ("/admin/circuit-breakers/{name}", "post"): {"json": {"action": "open"}},
    }

    for path, methods in document_of(client)["paths"].items():
        for method, operation in methods.items():
            sent: dict[str, Any] = bodies.get((path, method), {})
            answer = client.open(filled(path, **IRIS), method=method, **sent)
            assert str(answer.status_code) in operation["responses"], (method, path, answer.text)
            assert answer.status_code != 500, (method, path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2", protocol.ServerMetadata),
        ("/v2/health/live", protocol.ServerLive),
        ("/v2/models/iris/versions/1", protocol.ModelMetadata),
        ("/v2/models/iris/ready", protocol.ModelReady),
        ("/v2/models/none/ready", protocol.ProtocolError),
        ("/admin/circuit-breakers", CircuitList),
    ],
)
def test_answers_are_what_the_documents_promise(client: FlaskClient, path: str, kind: Any) -> None:
    TypeAdapter(kind).validate_json(client.get(path).data)


def test_a_circuit_is_what_the_documents_promise(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    client = create_app(settings).test_client()
    client.get("/health")

    shown = CircuitView.model_validate_json(client.get("/admin/circuit-breakers/redis").data)
    opened = client.post("/admin/circuit-breakers/redis", json={"action": "open"})

    assert (shown.name, shown.state, shown.failures) == ("redis", "closed", 1)
    assert CircuitView.model_validate_json(opened.data).state == "open"


def test_an_inference_is_what_the_documents_promise(client: FlaskClient) -> None:
    answer = client.post(
        "/v2/models/iris/infer",
        json={"inputs": [{"name": "numeric", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]},
    )

    found = protocol.InferResponse.model_validate_json(answer.data)
    assert [output.name for output in found.outputs] == ["predictions", "probabilities"]


def test_too_large_an_inference_is_refused_in_the_words_of_the_protocol(client: FlaskClient) -> None:
    answer = client.post("/v2/models/iris/infer", environ_overrides={"CONTENT_LENGTH": str(10**9)})

    assert (answer.status_code, answer.json["type"]) == (413, "urn:quadra-matrix:problem:body-too-large")
    assert answer.json["error"] == answer.json["detail"]


def test_pages_can_be_switched_off_while_the_documents_stay(tmp_path: Path) -> None:
    client = create_app(Settings(data_dir=tmp_path, api_pages=False)).test_client()

    assert {client.get(page).status_code for page in PAGES} == {404}
    assert {client.get(document).status_code for document in DOCUMENTS} == {200}


def test_a_password_stands_before_documents_and_pages(tmp_path: Path) -> None:
    client = create_app(Settings(data_dir=tmp_path, api_password="s3cret")).test_client()

    for address in [*PAGES, *DOCUMENTS]:
        refused = client.get(address)
        assert (refused.status_code, refused.content_type) == (401, "application/problem+json")
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert client.get(address, auth=("anyone", "wrong")).status_code == 401
        assert client.get(address, auth=("anyone", "s3cret")).status_code == 200
    assert client.get("/health/live").status_code == 200
