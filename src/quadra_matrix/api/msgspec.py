"""msgspec Structs where models are expected. One error at a time: msgspec stops at the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as struct_inspect
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, from_json

from quadra_matrix.errors import require

_PLACE = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


class StructShape:
    """What ``Shape`` is for pydantic's types, for a Struct. May be shared between threads.

    Raises InvalidValue for a Struct, at any depth, that does not say ``forbid_unknown_fields=True``: unlike a model's,
    its decoder cannot be tightened from outside.
    """

    __slots__ = ("instance_of", "kind")

    count_keys = None
    """A Struct does not remember which fields the text had, so the text is read again for repeated keys."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        for found in _structs(struct_inspect.type_info(kind)):
            require(found.forbid_unknown_fields, found.cls.__name__, "open", "declared with forbid_unknown_fields=True")
        self.kind = self.instance_of = kind

    holds_anything = True
    """msgspec lets an overflowing number pass as infinity."""

    def read_json(self, raw: bytes) -> Any:
        """Return the Struct that a JSON text means; raises pydantic's ValidationError like every shape."""
        try:
            document = from_json(raw, allow_inf_nan=False)
        except ValueError as broken:
            known = InitErrorDetails(type="json_invalid", input=None, ctx={"error": str(broken)})
            raise ValidationError.from_exception_data(self.kind.__name__, [known]) from broken
        try:
            return msgspec.convert(document, self.kind, strict=True)
        except msgspec.ValidationError as refused:
            raise ValidationError.from_exception_data(self.kind.__name__, [_error(str(refused))]) from refused

    def check_python(self, answer: Any, **_: Any) -> Any:
        """Return an answer as its own JSON means it; NaN, which JSON has not, breaks every number."""
        return self.read_json(self.write(answer))

    def few_errors(self, raw: bytes) -> ValidationError | None:
        """Return None: there is never more than one error."""
        return None

    def write(self, value: Any) -> bytes:
        """Return the JSON of a value. NaN becomes null."""
        return msgspec.json.encode(value)


def struct_schemas(kinds: list[Any], ref: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each Struct, and the named ones they refer to."""
    schemas, named = msgspec.json.schema_components(kinds, ref_template=ref.replace("{model}", "{name}"))
    return [dict(schema) for schema in schemas], {name: _untitled(schema) for name, schema in named.items()}


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the title that repeats its name."""
    return {key: value for key, value in schema.items() if key != "title"}


def _structs(node: Any) -> Iterator[struct_inspect.StructType]:
    """Yield every Struct type at and below a type."""
    seen: set[type] = set()
    todo = [node]
    while todo:
        found = todo.pop()
        if isinstance(found, struct_inspect.StructType):
            if found.cls in seen:
                continue
            seen.add(found.cls)
            yield found
            todo += [field.type for field in found.fields]
        else:
            todo += [getattr(found, name) for name in ("item_type", "key_type", "value_type") if hasattr(found, name)]
            todo += [*getattr(found, "types", ()), *getattr(found, "item_types", ())]


def _error(text: str) -> InitErrorDetails:
    """Return msgspec's message and place as pydantic writes them."""
    found = _PLACE.search(text)
    place: list[int | str] = []
    for step in _STEP.finditer(found[1] if found else ""):
        if step[1] is None and step[2] is None:
            break  # msgspec does not say which key of a dict it was
        place.append(step[1] if step[2] is None else int(step[2]))
    # Braces would be read as places to fill in.
    message = _PLACE.sub("", text).replace("{", "(").replace("}", ")")
    return InitErrorDetails(type=PydanticCustomError("struct", message), loc=tuple(place), input=None)
