"""Views that receive models: what reaches them, what does not, and what they may answer."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from flask import Flask, Response, abort
from flask.testing import FlaskClient
from flask.views import MethodView
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from quadra_matrix.api.flask import setup_problem_errors, validated
from quadra_matrix.errors import InvalidValue, RequestRefused, ResponseMismatch
from quadra_matrix.events.api import ResponseBroke
from quadra_matrix.testing import RecordingHook


class Rows(BaseModel):
    features: Annotated[list[float], Field(max_length=100)]
    label: str = ""
    count: int = 0


class Total(BaseModel):
    total: float
    label: str = ""


class Page(BaseModel):
    limit: int = 10
    tag: list[str] = []
    exact: bool = False


class Caller(BaseModel):
    x_request_id: str


class Place(BaseModel):
    number: Annotated[int, Field(ge=1)]


@dataclass
class Point:
    x: float
    y: float = 0.0


class Named(TypedDict):
    name: str


def app_with_routes() -> Flask:
    app = Flask(__name__)
    setup_problem_errors(app)

    @app.post("/sum")
    @validated
    def add(body: Rows) -> Total:
        return Total(total=math.fsum(body.features), label=body.label)

    @app.get("/search")
    @validated
    def search(query: Page) -> dict[str, Any]:
        return query.model_dump()

    @app.get("/whoami")
    @validated
    def whoami(headers: Caller) -> Named:
        return {"name": headers.x_request_id}

    @app.get("/places/<int:number>/<kind>")
    @validated
    def place(path: Place, kind: str) -> Named:
        return {"name": f"{kind} {path.number}"}

    @app.post("/move")
    @validated(status=201)
    def move(body: Point) -> Point:
        return Point(body.x + 1, body.y + 1)

    @app.post("/named")
    @validated
    def named(body: Named) -> Named:
        return body

    @app.post("/perhaps")
    @validated
    def perhaps(body: Point | None) -> Named:
        return {"name": repr(body)}

    return app


@pytest.fixture
def client() -> FlaskClient:
    return app_with_routes().test_client()


def post(client: FlaskClient, raw: bytes, url: str = "/sum", **kwargs: Any) -> Any:
    return client.post(url, data=raw, **{"content_type": "application/json", **kwargs})


def test_the_view_receives_the_model_and_its_answer_is_json(client: FlaskClient) -> None:
    answer = post(client, b'{"features": [1, 2.5], "label": "a:b"}')

    assert (answer.status_code, answer.json) == (200, {"total": 3.5, "label": "a:b"})
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("raw", "status", "pointers"),
    [
        pytest.param(b"", 400, ["#"], id="empty"),
        pytest.param(b'{"features": [1]', 400, ["#"], id="syntax"),
        pytest.param(b"\xef\xbb\xbf{}", 400, ["#"], id="byte order mark"),
        pytest.param(b'{"features": [], "label": "\xff"}', 400, ["#"], id="not UTF-8"),
        pytest.param('{"features": []}'.encode("utf-16"), 400, ["#"], id="UTF-16"),
        pytest.param(b"[" * 100_000, 400, ["#"], id="deep array"),
        pytest.param(b'{"a":' * 100_000, 400, ["#"], id="deep object"),
        pytest.param(b'{"features": [], "count": ' + b"1" * 5000 + b"}", 400, ["#"], id="5000 digits"),
        pytest.param(b'{"features": [1], "features": [2]}', 400, ["#/features"], id="repeated key"),
        pytest.param(b'{"features": [1], "\\u0066eatures": [2]}', 400, ["#/features"], id="repeated, escaped key"),
        pytest.param(b'{"features": [1, NaN]}', 400, ["#/features/1"], id="NaN"),
        pytest.param(b'{"features": [-Infinity]}', 400, ["#/features/0"], id="Infinity"),
        pytest.param(b'{"features": [], "label": "\\ud800"}', 400, ["#"], id="lone surrogate"),
        pytest.param(b'{"features": [1, 1e999]}', 422, ["#/features/1"], id="1e999"),
        pytest.param(b'{"features": [' + b"9" * 400 + b"]}", 422, ["#/features/0"], id="400 digits for a float"),
        pytest.param(b'{"features": [], "label": "\\u0000"}', 422, ["#/label"], id="NUL"),
        pytest.param(b'{"features": [true, "1.5", "NaN"]}', 422, [f"#/features/{i}" for i in range(3)], id="types"),
        pytest.param(b'{"features": [], "more": 1}', 422, ["#/more"], id="unknown key"),
        pytest.param(b'{"count": "1", "a/b": 2}', 422, ["#/features", "#/count", "#/a~1b"], id="every error at once"),
        pytest.param(b"null", 422, ["#"], id="null"),
    ],
)
def test_what_does_not_fit_is_told_in_full_and_never_reaches_the_view(
    client: FlaskClient, raw: bytes, status: int, pointers: list[str]
) -> None:
    answer = post(client, raw)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert [error["pointer"] for error in answer.json["errors"]] == pointers
    assert answer.json["instance"] == "/sum"
    assert len(answer.json["trace_id"]) == 32


def test_an_escaped_backslash_before_u0000_is_no_nul(client: FlaskClient) -> None:
    assert post(client, b'{"features": [], "label": "\\\\u0000"}').json["label"] == "\\u0000"


def test_the_refused_value_is_not_repeated(client: FlaskClient) -> None:
    assert b"hunter2" not in post(client, b'{"features": ["hunter2"]}').data


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "application/x-www-form-urlencoded"])
def test_other_media_types_are_refused(client: FlaskClient, kind: str) -> None:
    assert post(client, b'{"features": []}', content_type=kind).status_code == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"])
def test_json_by_another_name_is_read(client: FlaskClient, kind: str) -> None:
    assert post(client, b'{"features": []}', content_type=kind).status_code == 200


def test_an_encoded_body_is_refused(client: FlaskClient) -> None:
    assert post(client, b"\x1f\x8b", headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_too_large_body_is_refused_before_it_is_read(client: FlaskClient) -> None:
    class Untouched:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    answer = client.open(
        "/sum",
        method="POST",
        content_type="application/json",
        environ_overrides={"wsgi.input": Untouched(), "CONTENT_LENGTH": "1048577"},
    )

    assert answer.status_code == 413


def test_a_chunked_body_is_refused_at_the_limit(client: FlaskClient) -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += len(buffer)
            buffer[:] = b" " * len(buffer)
            return len(buffer)

    endless = Endless()

    answer = client.open(
        "/sum",
        method="POST",
        content_type="application/json",
        environ_overrides={"wsgi.input": endless, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )

    assert answer.status_code == 413
    assert endless.given <= 2 * 1_048_576


def test_a_body_shorter_than_its_length_is_refused(client: FlaskClient) -> None:
    answer = post(client, b'{"features": []}', environ_overrides={"CONTENT_LENGTH": "500"})

    assert answer.status_code == 400


def test_the_limit_of_a_route_replaces_that_of_the_app() -> None:
    app = Flask(__name__)
    app.post("/")(validated(body=Rows, max_body=20)(lambda body: "read"))

    assert post(app.test_client(), b'{"features": []}', "/").data == b"read"
    assert post(app.test_client(), b'{"features": []}     ', "/").status_code == 413


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"limit": 10, "tag": [], "exact": False}),
        ("limit=3&tag=a&tag=b&exact=true", {"limit": 3, "tag": ["a", "b"], "exact": True}),
        ("tag=1", {"limit": 10, "tag": ["1"], "exact": False}),
    ],
)
def test_a_query_becomes_a_model(client: FlaskClient, query: str, expected: dict[str, Any]) -> None:
    assert client.get(f"/search?{query}").json == expected


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=1_0", "#/limit"),
        ("limit=+1", "#/limit"),
        ("limit=1.0", "#/limit"),
        ("limit=", "#/limit"),
        ("limit=" + "1" * 5000, "#/limit"),
        ("limit=1&limit=2", "#/limit"),
        ("exact=yes", "#/exact"),
        ("exact=1", "#/exact"),
        ("tag=%00", "#/tag/0"),
        ("other=1", "#/other"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(client: FlaskClient, query: str, pointer: str) -> None:
    answer = client.get(f"/search?{query}")

    assert answer.status_code == 422
    assert [(error["pointer"], error["location"]) for error in answer.json["errors"]] == [(pointer, "query")]


def test_headers_become_a_model(client: FlaskClient) -> None:
    assert client.get("/whoami", headers={"X-Request-Id": "7"}).json == {"name": "7"}

    refused = client.get("/whoami")

    assert (refused.status_code, refused.json["errors"][0]["location"]) == (422, "header")


def test_path_values_become_a_model_and_the_rest_stay_arguments(client: FlaskClient) -> None:
    assert client.get("/places/3/hill").json == {"name": "hill 3"}
    assert client.get("/places/0/hill").json["errors"][0]["pointer"] == "#/number"


def test_dataclasses_and_typed_dicts_are_as_strict(client: FlaskClient) -> None:
    assert post(client, b'{"x": 1}', "/move").json == {"x": 2.0, "y": 1.0}
    assert post(client, b'{"x": 1}', "/move").status_code == 201
    assert post(client, b'{"x": 1, "z": 1}', "/move").status_code == 422
    assert post(client, b'{"name": "a", "more": 1}', "/named").status_code == 422
    assert post(client, b'{"x": true}', "/move").status_code == 422
    assert post(client, b'{"x": 1, "x": 2}', "/move").status_code == 400


def test_an_optional_body_may_be_missing(client: FlaskClient) -> None:
    assert client.post("/perhaps").json == {"name": "None"}
    assert post(client, b"{}", "/perhaps").status_code == 422


@pytest.mark.parametrize("answer", [Total.model_construct(total=math.nan), {"total": "x"}, {"totl": 1.0}, object()])
def test_a_broken_answer_is_a_500_that_tells_nothing(answer: Any) -> None:
    app = Flask(__name__)
    setup_problem_errors(app)
    app.get("/")(validated(response=Total)(lambda: answer))

    told = app.test_client().get("/")

    assert (told.status_code, told.json["title"]) == (500, "Internal Server Error")
    assert "detail" not in told.json


def test_a_broken_answer_is_sent_and_announced_in_report_mode(caplog: pytest.LogCaptureFixture) -> None:
    app, heard = Flask(__name__), RecordingHook()
    setup_problem_errors(app, responses="report", hook=heard)
    app.add_url_rule("/", "total", validated(response=Total)(lambda: Total.model_construct(total=math.nan, label="")))

    told = app.test_client().get("/")

    assert (told.status_code, told.data) == (200, b'{"total":null,"label":""}')
    assert heard.of(ResponseBroke) == [ResponseBroke("total", ("#/total Input should be a finite number",))]
    assert "total breaks its schema" in caplog.text


def test_no_answer_is_checked_when_off_and_none_carries_nan() -> None:
    app = Flask(__name__)
    app.get("/")(validated(response=Total, mode="off")(lambda: {"total": math.nan, "more": [math.inf]}))

    assert app.test_client().get("/").data == b'{"total":null,"more":[null]}'


def test_defaults_of_a_plain_answer_are_filled_in() -> None:
    app = Flask(__name__)
    app.get("/")(validated(response=Total)(lambda: {"total": 1}))

    assert app.test_client().get("/").json == {"total": 1.0, "label": ""}


def test_further_statuses_have_their_own_types() -> None:
    app = Flask(__name__)
    app.testing = True

    @app.get("/<int:number>")
    @validated(responses={202: Point, 204: None})
    def answer(number: int) -> Total | Response | tuple[Total, dict[str, str]] | Any:
        return {
            200: (Total(total=1), {"X-Extra": "yes"}),
            202: (Point(1, 2), 202, {"X-Extra": "yes"}),
            204: (None, 204),
            302: Response("", 302),
        }[number]

    client = app.test_client()

    assert client.get("/200").headers["X-Extra"] == "yes"
    assert (client.get("/202").status_code, client.get("/202").json) == (202, {"x": 1.0, "y": 2.0})
    assert client.get("/204").data == b""
    assert client.get("/302").status_code == 302


def test_a_status_that_nobody_promised_breaks_the_contract() -> None:
    app = Flask(__name__)
    app.testing = True
    app.get("/")(validated(response=Total)(lambda: (Total(total=1), 418)))

    with pytest.raises(ResponseMismatch, match="status 418 is not promised"):
        app.test_client().get("/")


def test_method_views_and_async_views_work() -> None:
    app = Flask(__name__)

    class Sums(MethodView):
        @validated
        def post(self, body: Rows) -> Total:
            return Total(total=sum(body.features))

    app.add_url_rule("/", view_func=Sums.as_view("sums"))

    assert post(app.test_client(), b'{"features": [2]}', "/").json["total"] == 2


def test_types_may_be_local_to_the_function_that_makes_the_app() -> None:
    class Local(BaseModel):
        size: int

    app = Flask(__name__)

    @app.post("/")
    @validated
    def view(body: Local) -> Local:
        return body

    assert post(app.test_client(), b'{"size": 3}', "/").json == {"size": 3}


def test_a_type_that_is_not_known_yet_is_refused_at_once() -> None:
    def view(body: Later) -> None:  # type: ignore[name-defined]  # noqa: F821
        return None

    with pytest.raises(InvalidValue, match=r"body of .*view is 'Later'"):
        validated(view)


def test_errors_of_handlers_are_problems_without_their_text() -> None:
    app = Flask(__name__)
    setup_problem_errors(app, statuses={ResponseMismatch: 409})

    @app.get("/<case>")
    def fail(case: str) -> str:
        if case == "bug":
            raise RuntimeError("password=hunter2")
        if case == "refused":
            raise RequestRefused(422, "no such model", errors={"#/model": "unknown"}, headers={"Retry-After": "3"})
        if case == "ours":
            raise ResponseMismatch("x", ("#/a",))
        abort(429)

    client = app.test_client()
    bug = client.get("/bug", headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    assert json.loads(bug.data) == {
        "status": 500,
        "title": "Internal Server Error",
        "type": "about:blank",
        "instance": "/bug",
        "trace_id": "ab" * 16,
    }
    refused = client.get("/refused")
    assert (refused.status_code, refused.headers["Retry-After"]) == (422, "3")
    assert refused.json["errors"] == [{"detail": "unknown", "pointer": "#/model", "location": "body"}]
    assert client.get("/ours").status_code == 409
    assert client.get("/other").json["title"] == "Too Many Requests"
    assert client.post("/bug").headers["Allow"]
    assert client.get("/a/b").json["status"] == 404


def test_redirects_and_ready_responses_are_left_alone() -> None:
    app = Flask(__name__)
    setup_problem_errors(app)
    app.get("/folder/")(lambda: "x")
    app.add_url_rule("/ready", "ready", lambda: abort(Response("made by hand", 400)))

    client = app.test_client()

    assert client.get("/folder").status_code == 308
    assert client.get("/ready").data == b"made by hand"


def test_json_of_plain_views_carries_no_nan() -> None:
    app = Flask(__name__)
    setup_problem_errors(app)
    app.get("/")(lambda: {"a": math.nan, "b": [math.inf, (1.0,)]})

    assert app.test_client().get("/").json == {"a": None, "b": [None, [1.0]]}


class NamedLikeSchemaKeys(BaseModel):
    type: str
    default: float
    cls: Point
    metadata: list[Any]


class NamedLikeSchemaKeysToo(TypedDict):
    type: str
    expected: float


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            NamedLikeSchemaKeys,
            b'{"type": "a", "default": 1.5, "cls": {"x": 1, "y": 2}, "metadata": [1]}',
            [
                b'{"type": "a", "default": "1.5", "cls": {"x": 1, "y": 2}, "metadata": [1]}',
                b'{"type": "a", "default": 1e999, "cls": {"x": 1, "y": 2}, "metadata": [1]}',
                b'{"type": "a", "default": 1.5, "cls": {"x": 1, "y": 2, "z": 3}, "metadata": [1]}',
                b'{"type": "a", "default": 1.5, "cls": {"x": 1, "y": 2}, "metadata": [1e999]}',
            ],
        ),
        (NamedLikeSchemaKeysToo, b'{"type": "a", "expected": 1.5}', [b'{"type": "a", "expected": "1.5"}']),
    ],
)
def test_fields_may_be_named_like_the_keys_of_a_schema(kind: Any, good: bytes, bad: list[bytes]) -> None:
    app = Flask(__name__)
    setup_problem_errors(app)
    app.post("/", endpoint="view")(validated(body=kind, response=None)(lambda body: {"ok": True}))
    client = app.test_client()

    def status(body: bytes) -> int:
        return client.post("/", data=body, content_type="application/json").status_code

    assert status(good) == 200
    assert all(status(body) in {400, 422} for body in bad)
