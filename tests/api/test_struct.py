"""msgspec Structs as bodies and answers."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from quadra_matrix.api.flask import setup_api_documentation, setup_problem_errors, validated
from quadra_matrix.errors import InvalidValue


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: float
    label: str = ""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    points: list[Point]
    named: dict[str, Point] = {}


class Length(msgspec.Struct, forbid_unknown_fields=True):
    length: float


class Loose(msgspec.Struct):
    x: float


class Around(msgspec.Struct, forbid_unknown_fields=True):
    inner: dict[str, list[Loose]]


def make_app() -> Flask:
    app = Flask("structs")
    setup_problem_errors(app)
    setup_api_documentation(app)

    @app.post("/length")
    @validated
    def length(body: Line) -> Length:
        """Measure a line."""
        return Length(body.points[-1].x if body.points else math.nan)

    return app


@pytest.fixture
def client() -> FlaskClient:
    return make_app().test_client()


def post(client: FlaskClient, raw: bytes) -> Any:
    return client.post("/length", data=raw, content_type="application/json")


def test_a_struct_reaches_the_view_and_is_written(client: FlaskClient) -> None:
    assert post(client, b'{"points": [{"x": 1}, {"x": 2.5}]}').json == {"length": 2.5}


@pytest.mark.parametrize(
    ("raw", "status", "pointer"),
    [
        (b"{", 400, "#"),
        (b"[" * 100_000, 400, "#"),
        (b'{"points": [{"x": NaN}]}', 400, "#"),
        (b'{"points": [], "points": []}', 400, "#/points"),
        (b'{"points": [{"x": 1e999}]}', 422, "#/points/0/x"),
        (b'{"points": [{"x": "1.5"}]}', 422, "#/points/0/x"),
        (b'{"points": [{"x": true}]}', 422, "#/points/0/x"),
        (b'{"points": [{"x": 1, "y": 2}]}', 422, "#/points/0"),
        (b'{"points": [], "named": {"a": {}}}', 422, "#/named"),
        (b'{"points": [{"x": 1, "label": "\\u0000"}]}', 422, "#/points/0/label"),
        (b"{}", 422, "#"),
    ],
)
def test_what_does_not_fit_is_told(client: FlaskClient, raw: bytes, status: int, pointer: str) -> None:
    answer = post(client, raw)

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (status, pointer)


def test_nan_in_an_answer_breaks_its_schema(client: FlaskClient) -> None:
    assert post(client, b'{"points": []}').status_code == 500


def test_structs_are_in_the_document(client: FlaskClient) -> None:
    document = client.get("/api/openapi.json").json

    validate(document)
    assert document["components"]["schemas"]["Line"]["additionalProperties"] is False
    assert {"Line", "Point", "Length", "ErrorResponse", "FieldError"} == set(document["components"]["schemas"])


def test_an_open_struct_is_refused_at_once() -> None:
    with pytest.raises(InvalidValue, match="Loose is 'open'; it must be declared with forbid_unknown_fields=True"):
        validated(body=Around)(lambda body: "")


def test_a_query_is_no_struct() -> None:
    with pytest.raises(InvalidValue, match="a Struct is for bodies and answers"):
        validated(query=Point)(lambda query: "")
