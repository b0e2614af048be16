"""An OpenAPI 3.1 document to the 3.0.3 document that means the same."""

from __future__ import annotations

from typing import Any

_NULL = {"type": "null"}
_MAPS = frozenset({"properties", "patternProperties"})
_SUBSCHEMAS = frozenset({"items", "additionalProperties", "not"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf"})
_UNKNOWN_IN_3_0 = (
    "propertyNames",
    "contentMediaType",
    "contentSchema",
    "unevaluatedProperties",
    "$comment",
)
"""Keywords that only narrow or describe; without them the schema is wider, never wrong."""


def to_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI 3.0.3 twin of a 3.1 document."""
    twin = {**document, "openapi": "3.0.3"}
    schemes = document.get("components", {}).get("securitySchemes", {})
    twin["paths"] = {
        path: {method: _secured(operation, schemes) for method, operation in _walk(item).items()}
        for path, item in document["paths"].items()
    }
    if "components" in document:
        named = document["components"].get("schemas")
        twin["components"] = {
            **document["components"],
            **({"schemas": {name: schema_3_0(schema) for name, schema in named.items()}} if named else {}),
        }
    return twin


def _secured(operation: Any, schemes: dict[str, Any]) -> Any:
    """Return an operation whose scopes stand only where 3.0 has a place for them."""
    if "security" not in operation:
        return operation
    knows = {name for name, scheme in schemes.items() if scheme["type"] in ("oauth2", "openIdConnect")}
    asked = [
        {name: scopes if name in knows else [] for name, scopes in option.items()} for option in operation["security"]
    ]
    return {**operation, "security": asked}


def _walk(node: Any) -> Any:
    """Return a part of the document with every schema in it rewritten."""
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: schema_3_0(value) if key == "schema" else value if key == "examples" else _walk(value)
        for key, value in node.items()
    }


def schema_3_0(schema: Any) -> Any:
    """Return a JSON Schema 2020-12 in the words of OpenAPI 3.0."""
    if not isinstance(schema, dict):
        return schema  # additionalProperties: true or false
    written = {key: _member(key, value) for key, value in schema.items() if key not in _UNKNOWN_IN_3_0}
    for rewrite in (_types, _null, _const, _examples, _bounds, _tuple, _patterns, _bytes, _reference):
        written = rewrite(written)
    return written


def _member(key: str, value: Any) -> Any:
    """Return one member with the schemas below it rewritten."""
    if key in _MAPS:
        return {name: schema_3_0(schema) for name, schema in value.items()}
    if key in _LISTS or key == "prefixItems":
        return [option if option == _NULL else schema_3_0(option) for option in value]
    return schema_3_0(value) if key in _SUBSCHEMAS else value


def _types(schema: dict[str, Any]) -> dict[str, Any]:
    """A list of types becomes alternatives."""
    types = schema.get("type")
    if types == "null":
        rest = {key: value for key, value in schema.items() if key != "type"}
        return {**rest, "nullable": True, "enum": [None]}
    if not isinstance(types, list):
        return schema
    rest = {key: value for key, value in schema.items() if key != "type"}
    if len(types) == 2 and "null" in types:
        return {**rest, "type": next(name for name in types if name != "null"), "nullable": True}
    return {**rest, "anyOf": [{"type": name} for name in types]}


def _null(schema: dict[str, Any]) -> dict[str, Any]:
    """An alternative that is null becomes ``nullable``."""
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if options is None or _NULL not in options:
            continue
        rest = {name: value for name, value in schema.items() if name != key}
        others = [option for option in options if option != _NULL]
        if len(others) == 1 and "$ref" not in others[0]:
            return {**others[0], **rest, "nullable": True}
        return {**rest, ("allOf" if len(others) == 1 else key): others, "nullable": True}
    return schema


def _const(schema: dict[str, Any]) -> dict[str, Any]:
    """One allowed value becomes a list of one."""
    if "const" not in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key != "const"}
    return {**rest, "enum": [schema["const"]]}


def _examples(schema: dict[str, Any]) -> dict[str, Any]:
    """The first example is the only one."""
    if not isinstance(schema.get("examples"), list):
        return schema
    rest = {key: value for key, value in schema.items() if key != "examples"}
    return {**rest, "example": schema["examples"][0]} if schema["examples"] else rest


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """An exclusive bound is a bound with a flag."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        bound = schema.get(exclusive)
        if bound is not None and not isinstance(bound, bool):
            schema = {**schema, inclusive: bound, exclusive: True}
    return schema


def _tuple(schema: dict[str, Any]) -> dict[str, Any]:
    """A tuple becomes a list of any of its items: 3.0 cannot say more."""
    if "prefixItems" not in schema:
        return {**schema, "items": {}} if schema.get("type") == "array" and "items" not in schema else schema
    rest = {key: value for key, value in schema.items() if key not in ("prefixItems", "items")}
    options = [item for at, item in enumerate(schema["prefixItems"]) if item not in schema["prefixItems"][:at]]
    return {**rest, "items": options[0] if len(options) == 1 else {"anyOf": options}}


def _patterns(schema: dict[str, Any]) -> dict[str, Any]:
    """Keys by pattern become keys of any name."""
    if "patternProperties" not in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key != "patternProperties"}
    options = list(schema["patternProperties"].values())
    return {**rest, "additionalProperties": options[0] if len(options) == 1 else {"anyOf": options}}


def _bytes(schema: dict[str, Any]) -> dict[str, Any]:
    """Base64 is a format in 3.0."""
    if "contentEncoding" not in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key != "contentEncoding"}
    return {**rest, "format": "byte"} if schema["contentEncoding"] == "base64" else rest


def _reference(schema: dict[str, Any]) -> dict[str, Any]:
    """Whatever stands beside a reference is ignored in 3.0, so the reference moves one step down."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    return {**rest, "allOf": [{"$ref": schema["$ref"]}]}
