"""Problem documents and the values around them."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import pytest
from flask import Flask, request
from pydantic import BaseModel, Field, Tag
from typing_extensions import TypedDict

from quadra_matrix.api.asyncapi import Channel, asyncapi
from quadra_matrix.api.contract import FROM_HINTS, Contract, answer_of
from quadra_matrix.api.flask import documented, options_of, setup_api_documentation, setup_problem_errors, validated
from quadra_matrix.api.jsontext import without_nan
from quadra_matrix.api.problem import INVALID_REQUEST, FieldError, Problem, kind_of, of_status, pointer, trace_id_from
from quadra_matrix.api.schemas import has_shape
from quadra_matrix.api.shape import Shape
from quadra_matrix.api.validation import TextReader, read_body
from quadra_matrix.errors import InvalidValue, KeyReused, QuadraError, RequestRefused, UnknownModel

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "header",
    [f"00-{TRACE}-b7ad6b7169203331-01", f" 00-{TRACE}-b7ad6b7169203331-00 ", f"01-{TRACE}-b7ad6b7169203331-01-x"],
)
def test_the_callers_trace_goes_on(header: str) -> None:
    assert trace_id_from(header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331",
    ],
)
def test_a_broken_trace_header_begins_a_new_trace(header: str | None) -> None:
    first, second = trace_id_from(header), trace_id_from(header)

    assert len(first) == len(second) == 32
    assert first != second != TRACE


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "#"),
        (("a", 0), "#/a/0"),
        (("~/",), "#/~0~1"),
        (("é ",), "#/%C3%A9%20"),
        (("\ud800",), "#/?"),
        (("%",), "#/%25"),
    ],
)
def test_pointers_are_escaped_twice(steps: tuple[str | int, ...], expected: str) -> None:
    assert pointer(*steps).replace("%3F", "?") == expected


def test_a_document_says_only_what_there_is_to_say() -> None:
    assert json.loads(of_status(404).to_json()) == {"status": 404, "title": "Not Found", "type": "about:blank"}


def test_a_status_that_has_no_name_has_a_title_all_the_same() -> None:
    assert of_status(499, "gone").title == "Error"


def test_a_detail_that_is_given_is_kept() -> None:
    assert INVALID_REQUEST.problem("many", [FieldError("x")] * 101).detail == "many"
    assert len(INVALID_REQUEST.problem(errors=[FieldError("x")] * 101).errors) == 100


@pytest.mark.parametrize(
    ("error", "type_", "title"),
    [
        (UnknownModel, "urn:quadra-matrix:problem:unknown-model", "Unknown model"),
        (KeyReused, "urn:quadra-matrix:problem:key-reused", "Key reused"),
    ],
)
def test_the_name_of_an_error_is_the_kind_of_its_problem(error: type[QuadraError], type_: str, title: str) -> None:
    problem = kind_of(error, 409).problem("why")

    assert (problem.type, problem.title, problem.status, problem.detail) == (type_, title, 409, "why")


def test_a_body_that_the_server_refuses_is_of_the_same_kind_as_one_that_a_view_refuses() -> None:
    app = Flask("x")
    setup_problem_errors(app, max_body=10)
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.add_url_rule("/plain", "plain", lambda: request.get_json(), methods=["POST"])
    app.add_url_rule("/checked", "checked", validated(body=Small)(lambda body: None), methods=["POST"])
    client = app.test_client()

    def types(**sent: Any) -> set[str]:
        return {client.post(path, **sent).json["type"] for path in ("/plain", "/checked")}

    assert types(data=b" " * 99, content_type="application/json") == {"urn:quadra-matrix:problem:body-too-large"}
    assert types(data=b"a=1") == {"urn:quadra-matrix:problem:unsupported-media-type"}


def test_a_refusal_is_an_error_status() -> None:
    with pytest.raises(InvalidValue, match="status is 200"):
        RequestRefused(200, "fine")


@pytest.mark.parametrize("value", ["text", 1, None, [1.0, (2.0,)], {"a": {"b": 1.5}}])
def test_finite_values_stay(value: Any) -> None:
    assert json.dumps(without_nan(value)) == json.dumps(value)


class Small(BaseModel):
    a: int = 0


class Colour(enum.Enum):
    RED = "red"


class Tagged(BaseModel):
    colour: Colour = Colour.RED
    either: Annotated[int, Field(ge=0)] | bool | None = None
    pair: tuple[int, str] = (0, "")


def test_more_unknown_keys_than_anyone_reads_are_counted() -> None:
    answer = read_body(Shape(Small), json.dumps({f"k{n}": 1 for n in range(2000)}).encode())

    assert isinstance(answer, Problem)
    assert answer.errors == (FieldError("2000 keys are unknown"),)


def test_unions_of_literals_are_read_from_text() -> None:
    reader = TextReader(Shape(Tagged), "query")

    assert reader.read({"either": ["3"]}).either == 3
    assert reader.read({"either": ["true"]}).either is True
    assert isinstance(reader.read({"either": ["yes"]}), Problem)
    assert reader.read({"colour": ["red"]}).colour is Colour.RED


class Loose(TypedDict):
    __pydantic_config__ = {"extra": "ignore"}  # type: ignore[misc]  # noqa: RUF012
    a: int


@pytest.mark.parametrize("kind", [dict[int, int], Loose])
def test_what_cannot_be_counted_is_still_read(kind: Any) -> None:
    shape = Shape(kind)

    assert shape.count_keys is None
    assert not isinstance(read_body(shape, b'{"a": 1}' if kind is Loose else b'{"1": 2}'), Problem)


def test_the_title_of_an_app_is_no_markup() -> None:
    app = Flask("x")
    setup_api_documentation(app, title="<script>alert(1)</script>")

    pages = [app.test_client().get(f"/api/{name}").data for name in ("docs", "redoc", "asyncapi")]

    assert not any(b"<script>alert" in page for page in pages)


def test_a_shape_shows_its_type() -> None:
    assert repr(Shape(int)) == "Shape(<class 'int'>)"
    assert repr(FROM_HINTS) == "FROM_HINTS"


def test_a_type_nobody_knows_has_no_shape() -> None:
    assert not has_shape(Flask)
    assert has_shape(Small)


def test_a_contract_has_one_type_for_each_status() -> None:
    with pytest.raises(InvalidValue, match="responses is 200"):
        Contract(status=200, responses={200: Small})


@pytest.mark.parametrize("hint", [None, type(None), Any, Flask, Flask | None, tuple[Flask, int]])
def test_hints_that_say_nothing_about_a_body(hint: Any) -> None:
    assert answer_of(hint, raw=(Flask,)) is None


def test_a_channel_may_go_one_way() -> None:
    found = asyncapi("t", "1", [Channel("/", sends=(Small,))], servers={"here": {"host": "h", "protocol": "ws"}})

    assert list(found["operations"]) == ["send_root"]
    assert found["servers"] == {"here": {"host": "h", "protocol": "ws"}}


def test_media_without_a_type_and_odd_statuses_are_written() -> None:
    app = Flask("x")
    app.add_url_rule("/", "csv", documented(media="text/csv", response=bytes, responses={299: None})(lambda: ""))

    found = setup_api_documentation(app).openapi()["paths"]["/"]["get"]["responses"]

    assert list(found["200"]["content"]) == ["text/csv"]
    assert found["299"] == {"description": "Status 299"}


def test_a_checked_view_may_answer_text() -> None:
    app = Flask("x")
    app.add_url_rule("/", "text", documented(media="text/plain")(validated(response=None)(lambda: "")))

    found = setup_api_documentation(app).openapi()["paths"]["/"]["get"]["responses"]

    assert found == {"200": {"description": "OK", "content": {"text/plain": {"schema": {}}}}}


def test_labelled_alternatives_are_as_strict_as_others() -> None:
    shape = Shape(Annotated[Small, Tag("small")] | Annotated[int, Tag("number")])

    assert read_body(shape, b'{"a": 2}') == Small(a=2)
    assert isinstance(read_body(shape, b'{"a": 2, "b": 3}'), Problem)


def test_options_are_refused_at_once() -> None:
    with pytest.raises(InvalidValue, match="responses is 'loud'"):
        setup_problem_errors(Flask("x"), responses="loud")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="max_body is 0"):
        setup_problem_errors(Flask("x"), max_body=0)
    assert options_of(Flask("x")).responses == "strict"
