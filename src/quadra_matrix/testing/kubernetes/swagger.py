"""The OpenAPI v2 document, in protobuf for kubectl: it validates lists by it, and old versions validate everything.

The numbers of the fields are those of gnostic's OpenAPIv2.proto.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from quadra_matrix.testing.kubernetes.kinds import Catalogue
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.openapi import closure, paths_of, root_of
from quadra_matrix.testing.kubernetes.schemas import Schemas

TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
GVK = "x-kubernetes-group-version-kind"
LIST: Json = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "items": {"type": "array", "items": {"type": "object"}},
    },
    GVK: [{"group": "", "version": "v1", "kind": "List"}],
}
"""A list of objects of any kind, which a file may hold and no server stores."""


def swagger(catalogue: Catalogue, schemas: Schemas) -> bytes:
    """Return the document of a server."""
    names = [schemas.names.get((kind.group, kind.version, kind.name)) for kind in catalogue.kinds]
    definitions = closure([name for name in names if name], schemas.definitions) | {"io.k8s.List": LIST}
    paths = b"".join(
        _field(2, _named(address, _path(item["patch"])))
        for kind in catalogue.kinds
        for address, item in paths_of(root_of(kind.group, kind.version), kind)
    )
    defined = b"".join(_field(1, _named(name, _schema(each))) for name, each in definitions.items())
    info = _field(1, "Kubernetes") + _field(2, "fake")
    return _field(1, "2.0") + _field(2, info) + _field(8, paths) + _field(9, defined)


def _schema(schema: Mapping[str, Any]) -> bytes:
    """Return a Schema message."""
    if "$ref" in schema:
        return _field(1, f"#/definitions/{schema['$ref'].rpartition('/')[2]}")
    message = b"".join(
        _field(number, schema[name]) for number, name in ((2, "format"), (4, "description")) if name in schema
    )
    message += b"".join(_field(19, name) for name in schema.get("required", ()))
    if isinstance(more := schema.get("additionalProperties"), dict):
        message += _field(21, _field(1, _schema(more)))
    if "type" in schema:
        message += _field(22, _field(1, schema["type"]))
    if "items" in schema:
        message += _field(23, _field(1, _schema(schema["items"])))
    if "properties" in schema:
        members = b"".join(_field(1, _named(name, _schema(each))) for name, each in schema["properties"].items())
        message += _field(25, members)
    return message + _extensions(31, schema)


def _path(operation: Mapping[str, Any]) -> bytes:
    """Return a PathItem message whose only operation is a patch."""
    message = b""
    for parameter in operation["parameters"]:
        query = _field(2, "query") + _field(4, parameter["name"]) + _field(6, "string")
        message += _field(8, _field(1, _field(2, _field(3, query))))
    return _field(8, message + _extensions(13, operation))


def _extensions(number: int, thing: Mapping[str, Any]) -> bytes:
    """Return the extensions of a message, each with its value as YAML."""
    found: Iterable[str] = (name for name in thing if name.startswith("x-"))
    return b"".join(_field(number, _named(name, _field(2, json.dumps(thing[name])))) for name in found)


def _named(name: str, value: bytes) -> bytes:
    return _field(1, name) + _field(2, value)


def _field(number: int, value: str | bytes) -> bytes:
    """Return a field of text or of a message, with its length before it."""
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
