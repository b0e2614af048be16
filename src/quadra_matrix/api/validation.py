"""Bytes of a request to a value of a type, or the problem that says everything that is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, from_json, to_json

from quadra_matrix.api.jsontext import Findings, inspect, is_plain, is_suspect
from quadra_matrix.api.problem import (
    INVALID_REQUEST,
    MALFORMED_JSON,
    MOST_ERRORS,
    FieldError,
    Location,
    Problem,
    pointer,
)
from quadra_matrix.api.shape import Shape

if TYPE_CHECKING:
    from quadra_matrix.api.msgspec import StructShape

AnyShape: TypeAlias = "Shape | StructShape"

MAX_BODY = 1_048_576
"""Bytes of a request body that are read unless the route says otherwise."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MANY_ERRORS = 1_000
"""Errors above which not every one is fetched: a body of one megabyte can hold 300 000, which take a second."""
_LONG_TEXT = 65_536
"""Bytes above which a text that is refused anyway is not read again for repeated keys."""
_LONGEST_NUMBER = 400
"""Characters of a number in a query or header; a double has at most 309 digits before its point."""


def read_body(shape: AnyShape, raw: bytes) -> Any | Problem:
    """Return the value that the JSON text means, or a problem of status 400 (not JSON) or 422 (not the schema).

    400 also for a repeated key, a bare NaN, text that is not UTF-8, nesting deeper than 200 and integers of more than
    4300 digits. 422 also for numbers beyond a double and for NUL characters. Every error of the schema is listed.
    """
    try:
        value = shape.read_json(raw)
    except ValidationError as refused:
        return _explain(shape, refused, raw, "body")
    if shape.count_keys is not None and is_plain(raw, shape.count_keys(value)):
        return value
    if not shape.holds_anything and not is_suspect(raw):
        return value
    found = inspect(raw)
    if found.syntax:
        return MALFORMED_JSON.problem(errors=found.syntax)
    if found.values:
        return INVALID_REQUEST.problem(errors=found.values)
    return value


class TextReader:
    """Reads a query, headers or path arguments, where every value is text. May be shared between threads."""

    __slots__ = ("_literals", "_sequences", "_shape", "location", "names")

    def __init__(self, shape: Shape, location: Location) -> None:
        self._shape, self.location = shape, location
        document = GenerateJsonSchema().generate(shape.core, "validation")
        fields = _resolve(document, document).get("properties", {})
        self.names: tuple[str, ...] = tuple(fields)
        types = {name: frozenset(_types(field, document)) for name, field in fields.items()}
        self._sequences = frozenset(name for name, kinds in types.items() if "array" in kinds)
        self._literals = frozenset(name for name, kinds in types.items() if kinds & {"integer", "number", "boolean"})

    def read(self, values: Mapping[str, Sequence[str]]) -> Any | Problem:
        """Return the value that the texts mean, or a problem of status 422 with every error."""
        # The texts become one JSON document: numbers and booleans are then read by the same strict rules as a body,
        # and "1_0", " 1", "yes" and "nan" stay text, which no number field accepts.
        raw = ",".join(f"{json.dumps(name)}:{self._member(name, texts)}" for name, texts in values.items())
        document = f"{{{raw}}}".encode("utf-8", "replace")
        try:
            value = self._shape.read_json(document)
        except ValidationError as refused:
            return _explain(self._shape, refused, document, self.location)
        found = [] if b"\\u0000" not in document else inspect(document, self.location).values
        return INVALID_REQUEST.problem(errors=found) if found else value

    def _member(self, name: str, texts: Sequence[str]) -> str:
        """Return the JSON of one parameter."""
        if name in self._sequences or len(texts) != 1:
            return f"[{','.join(self._literal(name, text) for text in texts)}]"
        return self._literal(name, texts[0])

    def _literal(self, name: str, text: str) -> str:
        """Return the JSON of one text."""
        if name in self._literals and (
            text in {"true", "false"} or (len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text))
        ):
            return text
        return json.dumps(text)


def _types(field: Mapping[str, Any], document: Mapping[str, Any]) -> set[str]:
    """Return every JSON type that one property accepts, its items included."""
    field = _resolve(field, document)
    found = {field["type"]} if isinstance(field.get("type"), str) else set()
    for key in ("anyOf", "oneOf", "allOf"):
        for option in field.get(key, ()):
            found |= _types(option, document)
    if isinstance(field.get("items"), dict):
        found |= _types(field["items"], document)
    return found


def _resolve(node: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references inside one JSON Schema document."""
    while "$ref" in node:
        node = document["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


@dataclass(frozen=True, slots=True)
class Breach:
    """How an answer breaks the schema that was promised for it."""

    errors: tuple[str, ...]
    """Place and fault of each; for logs, not for callers."""


def breach_of(shape: AnyShape, answer: Any) -> Breach | None:
    """Return how an object that a view made breaks its schema, or None when it keeps it."""
    try:
        shape.check_python(answer, by_alias=True, by_name=True)
    except ValidationError as broken:
        return _breach(broken)
    return None


def read_answer(shape: AnyShape, answer: Any) -> Any | Breach:
    """Return the value that an answer of plain JSON data means, defaults filled in, or how it breaks the schema."""
    try:
        return shape.read_json(to_json(answer, inf_nan_mode="constants"))
    except PydanticSerializationError as unknown:
        return Breach((f"# {unknown}",))
    except ValidationError as broken:
        return _breach(broken)


def _breach(broken: ValidationError) -> Breach:
    """Return the first errors of a refused answer."""
    errors = broken.errors(**_BARE)[:MOST_ERRORS]
    return Breach(tuple(f"{pointer(*error['loc'])} {error['msg']}" for error in errors))


_BARE: dict[str, Any] = {"include_url": False, "include_context": False, "include_input": False}
"""What an error document must not carry: addresses of pydantic's pages, limits, and the refused values."""


def _explain(shape: AnyShape, refused: ValidationError, raw: bytes, location: Location) -> Problem:
    """Return the problem for a text that pydantic refused; takes a bounded time for any number of errors."""
    count = refused.error_count()
    listed = refused if count <= _MANY_ERRORS else shape.few_errors(raw)
    if listed is None:
        return INVALID_REQUEST.problem(errors=[FieldError(f"{count} keys are unknown", "#", location)])
    details = listed.errors(**_BARE)
    if details[0]["type"] == "json_invalid":
        return MALFORMED_JSON.problem(errors=[FieldError(_syntax_error(raw, details[0]["msg"]), "#", location)])
    found = inspect(raw, location) if len(raw) <= _LONG_TEXT else Findings([], [])
    if found.syntax:
        return MALFORMED_JSON.problem(errors=found.syntax)
    document = from_json(raw)
    errors = [
        FieldError(error["msg"], pointer(*_place(error["type"], error["loc"], document)), location)
        for error in details[:_MANY_ERRORS]
    ]
    told = {error.pointer for error in errors}
    errors += [error for error in found.values if error.pointer not in told]
    return INVALID_REQUEST.problem(None if listed is refused else f"{count} errors; some are listed", errors)


def _syntax_error(raw: bytes, message: str) -> str:
    """Return why a text is not JSON, telling an encoding apart from a syntax error."""
    if not raw:
        return "the body is empty"
    try:
        raw.decode()
    except UnicodeDecodeError as broken:
        return f"the body is not UTF-8: byte {broken.start} begins no character"
    return message.removeprefix("Invalid JSON: ")


def _place(kind: str, loc: tuple[int | str, ...], document: Any) -> tuple[int | str, ...]:
    """Return the part of pydantic's location that exists in the document, and the missing key if one is missing.

    The rest names members of unions and validators, which the sender of the document has never heard of.
    """
    steps: list[int | str] = []
    for step in loc:
        is_key = isinstance(document, dict) and step in document
        if is_key or (isinstance(document, list) and isinstance(step, int) and step < len(document)):
            steps.append(step)
            document = document[step]
    if kind == "missing" and loc:
        steps.append(loc[-1])
    return tuple(steps)
