"""What the documents say about an app, and that saying it changes nothing."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import pytest
from flask import Blueprint, Flask, Response, jsonify
from flask.testing import FlaskClient
from flask.views import MethodView
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from quadra_matrix.api.asyncapi import Channel
from quadra_matrix.api.downgrade import schema_3_0
from quadra_matrix.api.flask import documented, setup_api_documentation, setup_problem_errors, validated
from quadra_matrix.api.operation import Operation
from quadra_matrix.api.problem import Problem
from quadra_matrix.api.spec import example_requests
from quadra_matrix.errors import InvalidValue
from tests.api.example_app import EXAMPLES, Item, make_app
from tests.api.official import assert_asyncapi


@pytest.fixture
def client() -> FlaskClient:
    return make_app()[0].test_client()


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/openapi-3.1.json").json
    return found


def statuses(document: dict[str, Any], method: str, path: str) -> list[str]:
    return list(document["paths"][path][method]["responses"])


def test_both_documents_are_valid(client: FlaskClient) -> None:
    old, new = client.get("/api/openapi.json").json, client.get("/api/openapi-3.1.json").json

    validate(old)
    validate(new)
    assert (old["openapi"], new["openapi"]) == ("3.0.3", "3.1.0")
    assert old["paths"].keys() == new["paths"].keys()


def test_the_asyncapi_document_is_valid(client: FlaskClient) -> None:
    found = client.get("/api/asyncapi.json").json

    assert_asyncapi(found)

    assert found["operations"]["receive_ws_prices"]["messages"] == [{"$ref": "#/channels/ws_prices/messages/Watch"}]
    assert {"Rose", "Watch", "Item"} == set(found["components"]["schemas"])


def test_an_app_without_channels_has_an_asyncapi_document_too() -> None:
    app = Flask("x")
    setup_api_documentation(app)

    assert_asyncapi(app.test_client().get("/api/asyncapi.json").json)


def test_every_operation_names_the_statuses_that_can_happen(document: dict[str, Any]) -> None:
    assert statuses(document, "get", "/items") == ["200", "422", "500"]
    assert statuses(document, "post", "/items") == ["201", "400", "409", "413", "415", "422", "500"]
    assert statuses(document, "get", "/items/{number}") == ["200", "404", "422", "500"]
    assert statuses(document, "delete", "/items/{number}") == ["204", "401", "403", "404", "422", "500"]
    assert statuses(document, "get", "/plain/weather/{city}") == ["200", "404", "500"]


def test_the_documents_leave_themselves_and_static_files_out(document: dict[str, Any]) -> None:
    assert not [path for path in document["paths"] if path.startswith(("/api", "/static"))]


def test_docstrings_blueprints_and_refinements_become_words(document: dict[str, Any]) -> None:
    find, weather = document["paths"]["/items"]["get"], document["paths"]["/plain/weather/{city}"]["get"]

    assert find["summary"] == "List what is for sale."
    assert "Sorted by" in find["description"]
    assert weather["tags"] == ["plain"]
    assert document["paths"]["/items/{number}"]["delete"]["deprecated"] is True
    assert document["paths"]["/items/{number}"]["delete"]["security"] == [{"key": []}]


def test_models_become_parameters_as_narrow_as_the_model(document: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in document["paths"]["/items"]["get"]["parameters"]}
    number = document["paths"]["/items/{number}"]["get"]["parameters"][0]

    assert parameters["limit"]["schema"] == {"default": 10, "maximum": 100, "minimum": 1, "type": "integer"}
    assert parameters["x-caller"]["in"] == "header"
    assert number["schema"] == {"maximum": 1000, "minimum": 1, "type": "integer"}


def test_closed_models_are_closed_in_the_document(document: dict[str, Any]) -> None:
    item = document["components"]["schemas"]["Item"]

    assert item["additionalProperties"] is False
    assert item["properties"]["name"]["description"] == "What it says on the box."
    assert item["properties"]["price"]["exclusiveMinimum"] == 0


def test_the_problem_document_is_in_it_by_its_promised_name(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["ErrorResponse"]

    assert problem["required"] == ["status", "title"]
    assert "trace_id" in problem["properties"]


def test_every_example_is_accepted(client: FlaskClient, document: dict[str, Any]) -> None:
    requests = list(example_requests(document))

    answers = [client.open(path, method=method, json=body) for method, path, _, body in requests]

    assert [name for _, _, name, _ in requests] == list(EXAMPLES)
    assert [answer.status_code for answer in answers] == [201, 201]


def test_a_proxy_prefix_counts_only_from_a_trusted_proxy() -> None:
    app, _ = make_app()
    headers = {"X-Forwarded-Prefix": "/shop"}

    untrusted = app.test_client().get("/api/openapi.json", headers=headers).json["servers"]
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    trusted = app.test_client().get("/api/openapi.json", headers=headers).json["servers"]
    page = app.test_client().get("/api/docs", headers=headers)

    assert (untrusted, trusted) == ([{"url": "/"}], [{"url": "/shop"}])
    assert b'data-spec="/shop/api/openapi.json"' in page.data


class FourDigits(BaseConverter):
    regex = r"\d{4}"


def existing_app() -> Flask:
    """An app that has never heard of Quadra Matrix, with a bit of everything."""
    app = Flask("existing")
    app.url_map.converters["year"] = FourDigits

    @app.route("/reports/<year:year>/<int(min=1, max=12):month>")
    def report(year: str, month: int) -> dict[str, int]:
        """Count what happened."""
        return {"year": int(year), "month": month}

    @app.route("/old", methods=["GET", "POST"])
    @app.route("/new")
    def anything():  # type: ignore[no-untyped-def]
        return jsonify(anything=float("nan"))

    class Things(MethodView):
        def get(self) -> list[str]:
            """List the things."""
            return ["a"]

        def post(self) -> tuple[dict[str, str], int]:
            return {"made": "yes"}, 201

    app.add_url_rule("/things", view_func=Things.as_view("things"))

    nested = Blueprint("inner", __name__, url_prefix="/inner")
    nested.add_url_rule("/<float:level>", "level", lambda level: Response(str(level), headers={"X-Own": "1"}))
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(nested)
    app.register_blueprint(outer)
    return app


REQUESTS = ["/reports/2024/12", "/reports/24/12", "/old", "/new", "/things", "/outer/inner/1.5", "/nowhere", "/api/x"]


@pytest.mark.parametrize("path", REQUESTS)
def test_documentation_changes_no_response(path: str) -> None:
    bare, described = existing_app(), existing_app()
    setup_api_documentation(described)

    for method in ("GET", "POST", "OPTIONS"):
        before = bare.test_client().open(path, method=method)
        after = described.test_client().open(path, method=method)
        assert (before.status, before.data) == (after.status, after.data)
        assert sorted(before.headers) == sorted(after.headers)


def test_an_existing_app_is_documented_as_it_stands() -> None:
    app = existing_app()
    setup_api_documentation(app)

    found = app.test_client().get("/api/openapi.json").json

    validate(found)
    year, month = found["paths"]["/reports/{year}/{month}"]["get"]["parameters"]
    assert year["schema"] == {"type": "string", "pattern": r"^(?:\d{4})$"}
    assert month["schema"] == {"type": "integer", "minimum": 1, "maximum": 12}
    assert set(found["paths"]["/things"]) == {"get", "post"}
    assert found["paths"]["/things"]["get"]["operationId"] == "things_get"
    assert found["paths"]["/outer/inner/{level}"]["get"]["tags"] == ["outer.inner"]
    assert found["paths"]["/old"]["get"]["responses"] == {"default": {"description": "Whatever the view answers."}}
    assert len(ids := [o["operationId"] for p in found["paths"].values() for o in p.values()]) == len(set(ids))


def test_two_apps_in_one_process_do_not_know_each_other() -> None:
    first, second = Flask("first"), Flask("second")
    setup_api_documentation(first, prefix="/v1")
    setup_api_documentation(second, title="Second")
    first.add_url_rule("/a", "a", lambda: "a")

    assert list(first.test_client().get("/v1/openapi.json").json["paths"]) == ["/a"]
    assert second.test_client().get("/api/openapi.json").json["info"]["title"] == "Second"
    assert "paths" in second.test_client().get("/api/openapi.json").json


def test_routes_may_come_after_a_document_was_made() -> None:
    app = Flask("late")
    found = setup_api_documentation(app)
    assert found.openapi()["paths"] == {}

    app.add_url_rule("/late", "late", lambda: "")

    assert list(found.openapi()["paths"]) == ["/late"]


def test_refine_writes_what_a_middleware_adds() -> None:
    import dataclasses

    def limited(operation: Operation) -> Operation:
        contract = dataclasses.replace(operation.contract, responses={429: Problem})
        return dataclasses.replace(operation, contract=contract, tags=("limited",))

    app = existing_app()
    found = setup_api_documentation(app, refine=limited).openapi()

    assert "429" in found["paths"]["/things"]["get"]["responses"]
    assert found["tags"] == [{"name": "limited"}]


def test_refine_may_hide_an_operation() -> None:
    import dataclasses

    def without_things(operation: Operation) -> Operation:
        is_hidden = operation.path == "/things"
        return dataclasses.replace(operation, refined=dataclasses.replace(operation.refined, hidden=is_hidden))

    found = setup_api_documentation(existing_app(), refine=without_things).openapi()

    assert "/things" not in found["paths"]
    assert found["paths"]


def test_types_that_no_operation_uses_can_be_promised() -> None:
    found = setup_api_documentation(Flask("x"), schemas=[Item]).openapi()

    assert list(found["components"]["schemas"]) == ["Item"]


def test_hidden_views_and_other_media_types() -> None:
    app = Flask("x")
    app.get("/hidden")(documented(hidden=True)(lambda: ""))
    app.add_url_rule("/metrics", "metrics", documented(media="text/plain", response=str)(lambda: ""))

    found = setup_api_documentation(app).openapi()

    assert list(found["paths"]) == ["/metrics"]
    assert found["paths"]["/metrics"]["get"]["responses"]["200"]["content"] == {
        "text/plain": {"schema": {"type": "string"}}
    }


class Everything(BaseModel):
    pair: tuple[int, str]
    maybe: Item | None
    either: int | str | None = None
    one: Literal["a"] = "a"
    none: None = None
    number: Annotated[int, Field(gt=1, lt=9, examples=[3, 4])] = 3
    table: dict[str, int] = {}
    item: Annotated[Item, Field(description="beside a reference")]
    raw: bytes = b""
    identity: uuid.UUID | None = None


def test_every_construct_of_2020_12_has_an_older_word() -> None:
    app = Flask("x")
    setup_problem_errors(app)
    app.post("/")(validated(body=Everything)(lambda body: ""))

    found = setup_api_documentation(app).openapi()

    validate(found)
    fields = found["components"]["schemas"]["Everything"]["properties"]
    assert fields["pair"]["items"]["anyOf"][0] == {"type": "integer"}
    assert fields["maybe"] == {"allOf": [{"$ref": "#/components/schemas/Item"}], "nullable": True}
    assert fields["either"]["nullable"] is True
    assert fields["one"]["enum"] == ["a"]
    assert fields["number"] == {
        "default": 3, "example": 3, "type": "integer",
        "minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True,
    }  # fmt: skip
    assert fields["item"] == {
        "description": "beside a reference",
        "allOf": [{"$ref": "#/components/schemas/Item"}],
    }


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    age: int


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def test_the_tag_of_a_union_is_required_even_if_it_has_a_default() -> None:
    app = Flask("pets")
    setup_problem_errors(app)
    found = setup_api_documentation(app)
    app.post("/")(validated(body=Owner)(lambda body: "ok"))

    schemas = found.openapi()["components"]["schemas"]

    assert (schemas["Cat"]["required"], schemas["Dog"]["required"]) == (["kind"], ["age", "kind"])
    assert app.test_client().post("/", json={"pet": {}}).status_code == 422
    assert app.test_client().post("/", json={"pet": {"kind": "cat"}}).status_code == 200


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "null"}, {"nullable": True, "enum": [None]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"prefixItems": [{"type": "string"}] * 2, "items": False}, {"items": {"type": "string"}}),
        ({"patternProperties": {"^a": {"const": 1}}}, {"additionalProperties": {"enum": [1]}}),
        ({"type": "string", "contentEncoding": "base64"}, {"type": "string", "format": "byte"}),
        ({"type": "string", "contentEncoding": "quoted"}, {"type": "string"}),
        ({"examples": []}, {}),
        ({"exclusiveMinimum": True, "minimum": 1}, {"exclusiveMinimum": True, "minimum": 1}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
         {"oneOf": [{"type": "string"}, {"type": "integer"}], "nullable": True}),
        ({"properties": {"const": {"const": 2}}}, {"properties": {"const": {"enum": [2]}}}),
        ({"additionalProperties": False, "propertyNames": {}}, {"additionalProperties": False}),
        ({"patternProperties": {"a": {}, "b": {}}}, {"additionalProperties": {"anyOf": [{}, {}]}}),
    ],
)  # fmt: skip
def test_one_keyword_at_a_time(new: dict[str, Any], old: dict[str, Any]) -> None:
    assert schema_3_0(new) == old


def test_a_channel_needs_an_address_and_a_message() -> None:
    with pytest.raises(InvalidValue, match="address is 'ws'"):
        Channel("ws", sends=(Item,))
    with pytest.raises(InvalidValue, match="at least one message type"):
        Channel("/ws")


def test_a_view_that_takes_files_says_which() -> None:
    app = Flask("x")
    view = documented(body=bytes, body_media=["text/csv", "image/png"])(lambda: "")
    app.add_url_rule("/", "upload", view, methods=["POST"])

    body = setup_api_documentation(app).openapi()["paths"]["/"]["post"]["requestBody"]

    assert body["required"]
    assert list(body["content"]) == ["text/csv", "image/png"]
    assert body["content"]["text/csv"]["schema"] == {"type": "string", "format": "binary"}
