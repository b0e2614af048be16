"""The models part over HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.service.models.conftest import Shop
from tests.service.models.served import MOST_BYTES, MOST_ROWS, app_over

ROW = [float(i) for i in range(30)]


@pytest.fixture
def client(trained_shop: Shop) -> FlaskClient:
    return app_over(trained_shop).test_client()


@pytest.fixture
def fresh(shop: Shop) -> FlaskClient:
    return app_over(shop).test_client()


def refused(answer: Any, status: int) -> Mapping[str, Any]:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.data
    problem: dict[str, Any] = json.loads(answer.data)
    assert {"type", "title", "status", "instance", "trace_id"} <= problem.keys()
    return problem


def places(answer: Any, status: int = 422) -> list[str]:
    return [error["pointer"] for error in refused(answer, status)["errors"]]


def test_lists_and_records_are_predicted(client: FlaskClient, trained_shop: Shop) -> None:
    names = [feature.name for feature in trained_shop.registry.find("cancer").features]

    lists = client.post("/api/predict", json={"model": "cancer", "rows": [ROW]}).get_json()
    records = client.post("/api/predict", json={"rows": [dict(zip(names, ROW, strict=True))]}).get_json()

    assert lists["probabilities"] == records["probabilities"]
    assert (lists["model"], lists["version"], lists["classes"]) == ("cancer", 1, ["benign", "malignant"])
    assert lists["predictions"][0] in lists["classes"]
    assert len(lists["request_id"]) == 32
    assert lists["request_id"] != records["request_id"]


def test_the_request_id_is_the_trace_of_the_caller(client: FlaskClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = client.post(
        "/api/predict", json={"rows": [ROW]}, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )

    assert answer.get_json()["request_id"] == trace


@pytest.mark.parametrize(
    ("asked", "version"), [({}, 1), ({"version": 2}, 2), ({"alias": "candidate"}, 2), ({"alias": "production"}, 1)]
)
def test_the_version_that_was_meant_answers(client: FlaskClient, asked: dict[str, Any], version: int) -> None:
    assert client.post("/api/predict", json={"rows": [ROW], **asked}).get_json()["version"] == version


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"rows": []}, "#/rows"),
        ({"rows": [ROW] * (MOST_ROWS + 1)}, "#/rows"),
        ({"rows": [ROW[:-1]]}, "#/rows/0"),
        ({"rows": [ROW, [*ROW[:-1], "x"]]}, "#/rows/1/29"),
        ({"rows": [ROW, [*ROW[:-1], True]]}, "#/rows/1/29"),
        ({"rows": [{"mean radius": 1}]}, "#/rows/0/mean%20texture"),
        ({"rows": [ROW], "version": 1, "alias": "production"}, "#"),
        ({"rows": [ROW], "version": 0}, "#/version"),
        ({"rows": [ROW], "model": "../x"}, "#/model"),
        ({"rows": [ROW], "surprise": 1}, "#/surprise"),
        ({}, "#/rows"),
    ],
)
def test_what_does_not_fit_is_named(client: FlaskClient, body: dict[str, Any], pointer: str) -> None:
    assert pointer in places(client.post("/api/predict", json=body))


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_numbers_are_finite(client: FlaskClient, number: str) -> None:
    row = ",".join([number, *["1"] * 29])

    answer = client.post("/api/predict", data=f'{{"rows": [[{row}]]}}', content_type="application/json")

    assert answer.status_code in {400, 422}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"model": "flowers"}, "there is: cancer"),
        ({"version": 7}, "there is: 1, 2"),
        ({"alias": "blue"}, "there is: candidate, production"),
    ],
)
def test_what_is_unknown_is_answered_with_what_exists(client: FlaskClient, asked: dict[str, Any], told: str) -> None:
    assert told in refused(client.post("/api/predict", json={"rows": [ROW], **asked}), 404)["detail"]


def test_models_are_listed_and_described(client: FlaskClient) -> None:
    listed = client.get("/api/models").get_json()
    shown = client.get("/api/models/cancer").get_json()
    version = client.get("/api/models/cancer/versions/2").get_json()

    aliases = {"candidate": 2, "production": 1}
    assert listed == {"models": [{"name": "cancer", "versions": [1, 2], "aliases": aliases}]}
    assert [record["version"] for record in shown["records"]] == [2, 1]
    assert shown["records"][0] == version
    assert (version["engine"], version["aliases"], version["onnx"]["label_flips"]) == ("onnx", ["candidate"], 0)
    assert version["parameters"]["trees"] == 20
    assert version["created"].endswith("Z")
    assert "padding" not in version


@pytest.mark.parametrize("path", ["/api/models/flowers", "/api/models/cancer/versions/9"])
def test_unknown_models_are_not_found(client: FlaskClient, path: str) -> None:
    refused(client.get(path), 404)


def test_an_alias_moves_for_every_worker(shop: Shop) -> None:
    shop.train()
    shop.train(estimator={"name": "random_forest", "trees": 3})
    one, another = (app_over(shop).test_client() for _ in range(2))
    assert another.post("/api/predict", json={"rows": [ROW]}).get_json()["version"] == 1

    moved = one.put("/api/models/cancer/aliases/production", json={"version": 2})

    assert (moved.status_code, moved.get_json()["version"]) == (200, 2)
    assert another.post("/api/predict", json={"rows": [ROW]}).get_json()["version"] == 2


def test_an_alias_never_points_at_nothing(client: FlaskClient) -> None:
    answer = client.put("/api/models/cancer/aliases/production", json={"version": 9})

    assert "there is: 1, 2" in refused(answer, 404)["detail"]


def test_a_dataset_is_uploaded_described_trained_on_and_deleted(fresh: FlaskClient, shop: Shop) -> None:
    content = "size,colour,target\n" + "".join(f"{i},{'red' if i % 3 else ''},{i % 2}\n" for i in range(40))

    uploaded = fresh.post("/api/datasets?name=shirts", data=content, content_type="text/csv")
    found = uploaded.get_json()

    assert uploaded.status_code == 201
    assert uploaded.headers["Location"] == f"/api/datasets/{found['id']}"
    assert (found["name"], found["rows"], found["format"], found["size"]) == ("shirts", 40, "csv", len(content))
    assert found["columns"][1] == {"name": "colour", "kind": "category", "missing": 14, "distinct": 1}
    assert fresh.get(uploaded.headers["Location"]).get_json() == found
    assert fresh.get("/api/datasets").get_json() == {"datasets": [found]}
    published = shop.train(model="shirts", data={"source": "dataset", "id": found["id"]})
    assert shop.registry.find("shirts").data_fingerprint == found["fingerprint"]
    record = {"size": 4, "colour": None}
    answer = fresh.post("/api/predict", json={"model": "shirts", "rows": [record]}).get_json()
    assert (answer["version"], answer["classes"]) == (published.version, [0, 1])
    assert fresh.delete(uploaded.headers["Location"]).status_code == 204
    refused(fresh.get(uploaded.headers["Location"]), 404)
    refused(fresh.delete(uploaded.headers["Location"]), 404)


def test_an_upload_past_the_limit_is_refused_before_and_while_it_is_read(fresh: FlaskClient, shop: Shop) -> None:
    content = b"a,b\n" + b"1,2\n" * MOST_BYTES

    told = fresh.post("/api/datasets", data=content, content_type="text/csv")
    chunked = fresh.post(
        "/api/datasets",
        input_stream=io.BytesIO(content),
        content_type="text/csv",
        environ_overrides={"wsgi.input_terminated": True},
    )

    for answer in (told, chunked):
        assert f"{MOST_BYTES} bytes" in refused(answer, 413)["detail"]
    assert list((shop.folder / "datasets").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "text/csv", 422),
        (b"a,b\n", "text/csv", 422),
        (b"not parquet", "application/vnd.apache.parquet", 422),
        (b"{}", "application/json", 415),
        (b"a,b\n1,2\n", "", 415),
    ],
)
def test_an_upload_that_is_no_table_is_refused(
    fresh: FlaskClient, content: bytes, kind: str | None, status: int
) -> None:
    refused(fresh.post("/api/datasets", data=content, content_type=kind), status)
