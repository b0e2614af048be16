"""Whether an object fits the schema of its kind: what cannot be read, what is unknown, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.problems import Cause
from quadra_matrix.testing.kubernetes.schemas import Schema

GO_NAMES = {
    "string": "string",
    "integer": "int32",
    "boolean": "bool",
    "array": "slice",
    "object": "map",
    "number": "float",
}
PYTHON_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


@dataclass
class Findings:
    """What is wrong with an object."""

    unreadable: list[str] = field(default_factory=list)
    """Values of another type: the server cannot decode the object (400)."""
    unknown: list[str] = field(default_factory=list)
    """Paths of fields that the schema does not have: refused, warned of or ignored as the client asks."""
    broken: list[Cause] = field(default_factory=list)
    """Values that break a rule of the schema (422)."""


def examine(thing: Json, schema: Schema) -> tuple[Json, Findings]:
    """Return the object without the fields that its schema does not have, and what is wrong with it."""
    findings = Findings()
    pruned = _object("", thing, schema, findings)
    return pruned, findings


def _any(path: str, value: Any, schema: Schema, findings: Findings) -> Any:
    """Examine a value of any type."""
    accepted = _types(schema)
    if value is None or not accepted:
        return value
    if not any(_is(value, name) for name in accepted):
        given = PYTHON_NAMES[type(value)]
        findings.unreadable.append(f"cannot unmarshal {given} into field {path} of type {GO_NAMES[accepted[0]]}")
        return value
    findings.broken.extend(_rules(path, value, schema))
    if isinstance(value, dict):
        return _object(path, value, schema, findings)
    if isinstance(value, list):
        return [_any(f"{path}[{place}]", item, schema.items, findings) for place, item in enumerate(value)]
    return value


def _object(path: str, thing: Json, schema: Schema, findings: Findings) -> Json:
    """Examine an object member by member."""
    definition = schema.definition
    known = definition.get("properties")
    prefix = f"{path}." if path else ""
    for name in definition.get("required", ()):
        if thing.get(name) is None:
            findings.broken.append(Cause(prefix + name, "Required value", "FieldValueRequired"))
    if known is None and not isinstance(definition.get("additionalProperties"), dict):
        return thing
    kept = {}
    for key, value in thing.items():
        if value is None:  # in JSON from Go, that is a field without a value
            continue
        if known is not None and key not in known and "additionalProperties" not in definition:
            if not definition.get("x-kubernetes-preserve-unknown-fields"):
                findings.unknown.append(prefix + key)
                continue
            kept[key] = value
        else:
            kept[key] = _any(prefix + key, value, schema.member(key), findings)
    return kept


def _types(schema: Schema) -> list[str]:
    """Return the types that a value may have; none when any will do."""
    given = schema.definition.get("type")
    if given is None:
        choices = schema.definition.get("oneOf", ())
        return [name for choice in choices for name in _named(choice.get("type", ()))]
    return _named(given)


def _named(given: str | list[str]) -> list[str]:
    return [name for name in ([given] if isinstance(given, str) else given) if name != "null"]


def _is(value: Any, name: str) -> bool:
    """Tell whether a value has a JSON type; a bool is no number."""
    if name == "boolean":
        return isinstance(value, bool)
    if name in {"integer", "number"}:
        return isinstance(value, int if name == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "array": list, "object": dict}[name])


def _rules(path: str, value: Any, schema: Schema) -> Iterator[Cause]:
    """Yield what a value of the right type breaks."""
    definition = schema.definition
    allowed = definition.get("enum")
    if allowed and value not in allowed:
        named = ", ".join(f'"{choice}"' for choice in sorted(allowed))
        yield Cause(path, f'Unsupported value: "{value}": supported values: {named}', "FieldValueNotSupported")
    if isinstance(value, int) and not isinstance(value, bool):
        least, most = definition.get("minimum"), definition.get("maximum")
        if least is not None and value < least:
            yield Cause(path, f"Invalid value: {value}: should be greater than or equal to {least}")
        if most is not None and value > most:
            yield Cause(path, f"Invalid value: {value}: should be less than or equal to {most}")
