"""Definitions as JSON: the one shape that files, the database and the REST endpoints share."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments.definition import (
    AutoStop,
    Definition,
    Kind,
    Metric,
    Phase,
    Role,
    Share,
    Status,
    Variant,
)

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

_FIELDS = {field.name for field in dataclasses.fields(Definition)}
_OURS = {"status", "phases", "winner", "reason", "version", "changed_at"}
"""Fields that a user does not set when creating an experiment."""


def to_json(definition: Definition) -> dict[str, Any]:
    """Return the definition as plain JSON values."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(definition):
        value = getattr(definition, field.name)
        if isinstance(value, tuple):
            value = [dataclasses.asdict(item) for item in value]
        elif isinstance(value, Share):
            value = dataclasses.asdict(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        found[field.name] = value
    return found


def from_json(found: Mapping[str, Any]) -> Definition:
    """Return the definition that ``to_json`` wrote, or that a user asks for; raise ``InvalidValue`` for a mistake."""
    unknown = set(found) - _FIELDS
    if unknown:
        raise InvalidValue("experiment", sorted(unknown), f"made of the fields {sorted(_FIELDS - _OURS)}")
    for needed in ("name", "variants"):
        if needed not in found:
            raise InvalidValue(needed, None, "given")
    given = dict(found)
    given["variants"] = tuple(_part(Variant, item, "variants") for item in _list(found["variants"], "variants"))
    if "metrics" in found:
        given["metrics"] = tuple(_metric(item) for item in _list(found["metrics"], "metrics"))
    if "phases" in found:
        given["phases"] = tuple(
            Phase(item["number"], tuple(item["weights"]), item["started_at"]) for item in found["phases"]
        )
    for name in ("layer", "holdout"):
        if found.get(name) is not None:
            given[name] = _share(found[name], name)
    given["auto_stop"] = _member(AutoStop, found.get("auto_stop", AutoStop.REPORT), "auto_stop")
    given["status"] = _member(Status, found.get("status", Status.DRAFT), "status")
    for name in ("targeting_rules", "forced"):
        given[name] = found.get(name) or {}
    return Definition(**given)


def created(found: Mapping[str, Any]) -> Definition:
    """Return the draft that a user asks for: the fields of a life that has not begun are refused."""
    early = set(found) & _OURS
    if early:
        raise InvalidValue("experiment", sorted(early), "without fields that only the experiment's life sets")
    return from_json(found)


def _metric(item: object) -> Metric:
    """Return a metric from JSON."""
    given = dict(_mapping(item, "metrics"))
    if "kind" in given:
        given["kind"] = _member(Kind, given["kind"], "metrics.kind")
    if "role" in given:
        given["role"] = _member(Role, given["role"], "metrics.role")
    return _part(Metric, given, "metrics")


def _share(item: object, name: str) -> Share:
    """Return a part of the units; a number alone is a holdout of that share from the start."""
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        return Share(name, 0.0, float(item))
    return _part(Share, item, name)


def _part(kind: Callable[..., T], item: object, name: str) -> T:
    """Return a value of one of the small classes; its field names are the JSON names."""
    try:
        return kind(**_mapping(item, name))
    except TypeError as wrong:
        raise InvalidValue(name, item, f"made of known fields ({wrong})") from wrong


def _mapping(item: object, name: str) -> Mapping[str, Any]:
    """Return the item if it is a mapping."""
    if not isinstance(item, Mapping):
        raise InvalidValue(name, item, "a mapping")
    return item


def _list(items: object, name: str) -> Sequence[object]:
    """Return the items if they are a list."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise InvalidValue(name, items, "a list")
    return items


def _member(kind: type[E], value: object, name: str) -> E:
    """Return the member of an enumeration with this value."""
    for member in kind:
        if member.value == value:
            return member
    raise InvalidValue(name, value, f"one of {[member.value for member in kind]}")
