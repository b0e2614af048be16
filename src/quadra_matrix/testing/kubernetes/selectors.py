"""Which objects a selector chooses: labels as a query or as an object has them, and fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json, dig, labels_of
from quadra_matrix.testing.kubernetes.problems import bad_request

Choice = Callable[[Mapping[str, Any]], bool]
"""Tells whether an object is chosen."""

SET_BASED = re.compile(r"^([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)$")
EQUALITY = re.compile(r"^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$")
EXISTENCE = re.compile(r"^(!?)\s*([^\s!=,()]+)$")
BETWEEN = re.compile(r",(?![^(]*\))")

OPERATORS = {"=": "In", "==": "In", "!=": "NotIn", "in": "In", "notin": "NotIn"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label must be."""

    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether these labels are as required. A label that is missing is not in any set."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "In")


def by_labels(query: str) -> Choice:
    """Return the choice that ``labelSelector=`` makes, such as ``app=shop,track in (stable, canary),!old``."""
    wanted = tuple(_requirement(part.strip()) for part in BETWEEN.split(query) if part.strip())
    return lambda thing: all(need.holds(labels_of(thing)) for need in wanted)


def selected(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Tell whether an object's ``selector`` (matchLabels and matchExpressions) chooses these labels."""
    if selector is None:
        return False
    equal = selector.get("matchLabels") or {}
    needs = [Requirement(key, "In", frozenset({value})) for key, value in equal.items()]
    needs.extend(
        Requirement(given["key"], given["operator"], frozenset(given.get("values") or ()))
        for given in selector.get("matchExpressions") or []
    )
    return all(need.holds(labels) for need in needs)


def has_labels(wanted: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a Service's selector chooses these labels; an empty one chooses nothing."""
    return bool(wanted) and all(labels.get(key) == value for key, value in (wanted or {}).items())


def by_fields(query: str, known: frozenset[str]) -> Choice:
    """Return the choice that ``fieldSelector=`` makes. Raises a 400 for a field that the server has no index of."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, map(str.strip, query.split(","))):
        found = EQUALITY.match(part)
        if found is None:
            raise bad_request(f"invalid field selector: {part!r}")
        path, operator, value = found.groups()
        if path not in known:
            raise bad_request(f"field label not supported: {path}")
        tests.append((path, operator != "!=", value))
    return lambda thing: all((_text(thing, path) == value) is equal for path, equal, value in tests)


def _requirement(part: str) -> Requirement:
    if found := SET_BASED.match(part):
        key, operator, values = found.groups()
        return Requirement(key, OPERATORS[operator], frozenset(map(str.strip, values.split(","))))
    if found := EQUALITY.match(part):
        key, operator, value = found.groups()
        return Requirement(key, OPERATORS[operator], frozenset({value}))
    if found := EXISTENCE.match(part):
        return Requirement(found.group(2), "DoesNotExist" if found.group(1) else "Exists")
    raise bad_request(f"unable to parse requirement: {part!r}")


def _text(thing: Mapping[str, Any], path: str) -> str:
    found = dig(thing, *path.split("."), default="")
    return str(found).lower() if isinstance(found, bool) else str(found)
