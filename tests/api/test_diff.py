"""Every way to break a client is named; what clients do not notice is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from quadra_matrix.api.cli import api
from quadra_matrix.api.diff import compare
from quadra_matrix.api.fit import Comparison, Side
from quadra_matrix.api.lint import remarks
from quadra_matrix.cli import main
from quadra_matrix.errors import InvalidValue
from tests.api.example_app import make_app
from tests.api.serving import served

Document = dict[str, Any]
ITEM: Document = {
    "type": "object",
    "required": ["name", "size"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "size": {"type": "number", "minimum": 0},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string", "nullable": True},
    },
}


def document() -> Document:
    """Return a document with one schema for requests and one, alike, for answers."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/items/{id}": {
                "post": {
                    "operationId": "add",
                    "summary": "Add.",
                    "parameters": [
                        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 10}},
                    ],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}},
                    "responses": {
                        "200": {
                            "description": "",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Out"}}},
                        },
                        "404": {"description": ""},
                    },
                }
            }
        },
        "components": {"schemas": {"In": copy.deepcopy(ITEM), "Out": copy.deepcopy(ITEM)}},
    }


def operation(changed: Document) -> Document:
    found: Document = changed["paths"]["/items/{id}"]["post"]
    return found


def schema(changed: Document, name: str) -> Document:
    found: Document = changed["components"]["schemas"][name]
    return found


def breaking(change: Callable[[Document], object]) -> list[str]:
    new = document()
    change(new)
    return [found.pointer for found in compare(document(), new) if found.is_breaking]


OPERATION = "#/paths/~1items~1%7Bid%7D/post"
IN = f"{OPERATION}/requestBody/content/application~1json/schema"
OUT = f"{OPERATION}/responses/200/content/application~1json/schema"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["paths"].pop("/items/{id}"), "#/paths/~1items~1%7Bid%7D"),
        (lambda d: d["paths"]["/items/{id}"].pop("post"), OPERATION),
        (lambda d: schema(d, "In")["required"].append("kind"), f"{IN}/properties/kind"),
        (lambda d: schema(d, "In")["properties"].pop("note"), f"{IN}/properties/note"),
        (lambda d: schema(d, "In")["properties"]["size"].update(type="integer"), f"{IN}/properties/size/type"),
        (lambda d: schema(d, "In")["properties"]["size"].update(minimum=1), f"{IN}/properties/size/minimum"),
        (lambda d: schema(d, "In")["properties"]["size"].update(exclusiveMinimum=True),
         f"{IN}/properties/size/exclusiveMinimum"),
        (lambda d: schema(d, "In")["properties"]["name"].update(maxLength=9), f"{IN}/properties/name/maxLength"),
        (lambda d: schema(d, "In")["properties"]["name"].update(pattern="a"), f"{IN}/properties/name/pattern"),
        (lambda d: schema(d, "In")["properties"]["kind"].update(enum=["a"]), f"{IN}/properties/kind/enum"),
        (lambda d: schema(d, "In")["properties"]["name"].update(enum=["a"]), f"{IN}/properties/name/enum"),
        (lambda d: schema(d, "In")["properties"]["note"].pop("nullable"), f"{IN}/properties/note/nullable"),
        (lambda d: schema(d, "In")["properties"]["tags"].update(uniqueItems=True),
         f"{IN}/properties/tags/uniqueItems"),
        (lambda d: schema(d, "In")["properties"]["tags"]["items"].update(type="integer"),
         f"{IN}/properties/tags/items/type"),
        (lambda d: schema(d, "Out")["properties"].pop("kind"), f"{OUT}/properties/kind"),
        (lambda d: schema(d, "Out")["required"].remove("name"), f"{OUT}/properties/name"),
        (lambda d: schema(d, "Out")["properties"]["kind"].update(enum=["a", "b", "c"]), f"{OUT}/properties/kind/enum"),
        (lambda d: schema(d, "Out")["properties"]["name"].update(nullable=True), f"{OUT}/properties/name/nullable"),
        (lambda d: schema(d, "Out")["properties"]["name"].update(type="integer"), f"{OUT}/properties/name/type"),
        (lambda d: operation(d)["responses"].pop("200"), f"{OPERATION}/responses/200"),
        (lambda d: operation(d)["responses"]["200"].update(content={}),
         f"{OPERATION}/responses/200/content/application~1json"),
        (lambda d: operation(d)["parameters"][1].update(required=True), f"{OPERATION}/parameters/1/required"),
        (lambda d: operation(d)["parameters"][1]["schema"].update(maximum=5),
         f"{OPERATION}/parameters/1/schema/maximum"),
        (lambda d: operation(d)["parameters"].pop(), f"{OPERATION}/parameters"),
        (lambda d: operation(d)["parameters"].append({"name": "x", "in": "header", "required": True}),
         f"{OPERATION}/parameters/2"),
        (lambda d: operation(d)["requestBody"].update(required=True), f"{OPERATION}/requestBody/required"),
        (lambda d: operation(d)["requestBody"].update(content={}),
         f"{OPERATION}/requestBody/content/application~1json"),
        (lambda d: operation(d).pop("requestBody"), f"{OPERATION}/requestBody"),
        (lambda d: operation(d).update(security=[{"key": []}]), f"{OPERATION}/security"),
    ],
)  # fmt: skip
def test_a_breaking_change_is_named_by_its_place(change: Callable[[Document], object], expected: str) -> None:
    assert expected in breaking(change)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: None, id="nothing"),
        pytest.param(lambda d: schema(d, "In")["properties"].update(new={"type": "string"}), id="new key"),
        pytest.param(lambda d: schema(d, "In")["required"].remove("size"), id="no longer required"),
        pytest.param(lambda d: schema(d, "In")["properties"]["name"].update(maxLength=20), id="wider request"),
        pytest.param(lambda d: schema(d, "Out")["properties"].update(new={"type": "string"}), id="new answer field"),
        pytest.param(lambda d: schema(d, "Out")["properties"]["kind"].update(enum=["a"]), id="narrower answer"),
        pytest.param(lambda d: schema(d, "Out")["properties"]["size"].update(type="integer"), id="integer for number"),
        pytest.param(lambda d: operation(d)["responses"].update({"500": {"description": ""}}), id="new error"),
        pytest.param(lambda d: d["paths"].update({"/new": {"get": {"responses": {}}}}), id="new path"),
        pytest.param(lambda d: operation(d).update(operationId="other"), id="new id"),
        pytest.param(lambda d: operation(d)["parameters"].append({"name": "y", "in": "query"}), id="new parameter"),
        pytest.param(lambda d: operation(d)["parameters"][0].update(name="id"), id="same variable"),
    ],
)
def test_what_clients_do_not_notice_breaks_nothing(change: Callable[[Document], object]) -> None:
    assert breaking(change) == []


def test_a_new_operation_of_a_known_path_is_named() -> None:
    new = document()
    new["paths"]["/items/{id}"]["get"] = {"responses": {}}

    assert [(change.pointer, change.is_breaking) for change in compare(document(), new)] == [
        ("#/paths/~1items~1%7Bid%7D/get", False)
    ]


def test_a_renamed_variable_is_the_same_path() -> None:
    new = document()
    item = new["paths"].pop("/items/{id}")
    item["post"]["parameters"][0]["name"] = "number"
    new["paths"]["/items/{number}"] = item

    assert compare(document(), new) == []


def test_the_twin_of_a_document_differs_in_nothing() -> None:
    client = make_app()[0].test_client()

    assert compare(client.get("/api/openapi.json").json, client.get("/api/openapi-3.1.json").json) == []


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"openapi is '2\.0'"):
        compare({"openapi": "2.0"}, document())


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "string"}, False),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, True),
        ({"type": "boolean"}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, False),
        ({"anyOf": [{"type": "string"}], "nullable": True}, {"anyOf": [{"type": "string"}]}, False),
        ({"allOf": [{"type": "string"}], "maxLength": 3}, {"type": "string", "maxLength": 3}, True),
        ({"type": "object"}, {"type": "object", "additionalProperties": False}, False),
        ({"type": "object", "additionalProperties": {"type": "string"}},
         {"type": "object", "additionalProperties": {"type": "integer"}}, False),
        ({"type": "string"}, True, True),
        ({"type": "string"}, False, False),
        ({"enum": [1]}, {"enum": [1, 2]}, True),
        ({"enum": ["a"]}, {"type": "string"}, True),
        ({}, {"type": "string"}, False),
        ({"type": "object", "properties": {}}, {}, True),
        ({"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {}}}], "type": "object",
          "required": ["b"], "properties": {"b": {}}},
         {"type": "object", "required": ["a", "b"]}, True),
    ],
)  # fmt: skip
def test_one_schema_fits_another(given: Any, wanted: Any, fits: bool) -> None:
    assert (not Comparison(Side(), Side()).misfits(given, wanted)) is fits


def test_a_schema_that_contains_itself_is_compared_once() -> None:
    tree = {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}}}}
    bush = {"Tree": {"type": "object", "required": ["left"], "properties": {"left": {"$ref": "#/x/Tree"}}}}

    misfits = Comparison(Side(tree), Side(bush)).misfits({"$ref": "#/x/Tree"}, {"$ref": "#/x/Tree"})

    assert {misfit.place[-1] for misfit in misfits} == {"left"}


def test_remarks_name_what_is_missing() -> None:
    poor = document()
    operation(poor).pop("summary")
    operation(poor)["responses"] = {"default": {}}
    operation(poor)["parameters"] = []
    operation(poor)["security"] = [{"key": []}]
    poor["paths"]["/again"] = {"get": {"operationId": "add", "summary": "x", "responses": {"200": {}}}}
    poor["components"]["schemas"].pop("In")

    found = {remark.what.split(";")[0] for remark in remarks(poor)}

    assert found == {
        "has no summary",
        "says nothing about its answer",
        "id is not in the path and the parameters alike",
        "key is not among the security schemes",
        "is not the only operation with this id",
        "is referred to and missing",
    }


def test_a_complete_document_has_no_remarks() -> None:
    assert remarks(document()) == []


def write(place: Path, value: Document) -> str:
    place.write_text(json.dumps(value))
    return str(place)


def test_the_command_fails_on_breaking_changes_only(tmp_path: Path) -> None:
    broken, wider = document(), document()
    schema(broken, "Out")["properties"].pop("kind")
    schema(wider, "In")["required"].remove("size")
    old = write(tmp_path / "old.json", document())

    on_broken = CliRunner().invoke(api, ["diff", old, write(tmp_path / "broken.json", broken), "--json"])
    on_wider = CliRunner().invoke(api, ["diff", old, write(tmp_path / "wider.json", wider)])

    assert on_broken.exit_code == 1
    assert json.loads(on_broken.stdout)[0]["pointer"] == f"{OUT}/properties/kind"
    assert on_wider.exit_code == 0
    assert "0 of 0 changes break clients" in on_wider.stderr


def test_the_commands_read_an_app_or_a_running_service() -> None:
    run = CliRunner().invoke
    with served(make_app()[0]) as address:
        printed = run(api, ["spec", "--url", address, "--format", "asyncapi"])
    of_app = run(api, ["spec", "--app", "tests.api.example_app:only_app", "--format", "3.1"])
    linted = run(api, ["lint", "--app", "tests.api.example_app:only_app", "--json"])

    assert json.loads(printed.stdout)["asyncapi"] == "3.0.0"
    assert json.loads(of_app.stdout)["openapi"] == "3.1.0"
    assert linted.exit_code == 1
    assert "has no summary; give the view a docstring" in {each["what"] for each in json.loads(linted.stdout)}


@pytest.mark.parametrize(
    "words",
    [["spec", "--app", "nowhere"], ["spec", "--app", "nowhere:app"], ["diff", "/nowhere.json", "/nowhere.json"]],
)
def test_what_cannot_be_read_is_a_usage_error(words: list[str]) -> None:
    done = CliRunner().invoke(main, ["api", *words])

    assert done.exit_code == 2
