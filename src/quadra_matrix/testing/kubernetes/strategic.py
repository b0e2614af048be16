"""Strategic merge patch: lists are merged by the key that the schema names, so that a sidecar survives."""

from __future__ import annotations

from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json, clone
from quadra_matrix.testing.kubernetes.problems import bad_request
from quadra_matrix.testing.kubernetes.schemas import Schema

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"


def strategic_patched(thing: Json, patch: Any, schema: Schema) -> Json:
    """Return ``thing`` with ``patch`` merged in as the schema of its kind says."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is an object")
    merged = _objects(thing, patch, schema)
    return merged if merged is not None else {}


def _objects(old: Any, patch: Json, schema: Schema) -> Json | None:
    """Merge two objects; None when the patch deletes this one."""
    directive = patch.get(DIRECTIVE)
    if directive == "delete":
        return None
    if directive == "replace" or not isinstance(old, dict):
        old = {}
    merged: Json = clone(old)
    if (kept := patch.get(RETAIN)) is not None:
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            _take(merged, key.removeprefix(DELETE_FROM), value)
        elif not key.startswith("$"):
            _member(merged, key, value, schema.member(key))
    for key, order in patch.items():
        if key.startswith(ORDER):
            name = key.removeprefix(ORDER)
            merged[name] = _ordered(merged.get(name, []), order, schema.member(name).merge_key)
    return merged


def _member(merged: Json, key: str, value: Any, schema: Schema) -> None:
    """Merge one member of an object."""
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        found = _objects(merged.get(key), value, schema)
        if found is None:
            merged.pop(key, None)
        else:
            merged[key] = found
    elif isinstance(value, list) and schema.merges:
        merged[key] = _lists(merged.get(key) or [], value, schema)
    else:
        merged[key] = clone(value)


def _lists(old: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """Merge two lists: primitives as a set, objects by their key."""
    key = schema.merge_key
    if key is None:
        return [*old, *(value for value in patch if value not in old)]
    if any(item == {DIRECTIVE: "replace"} for item in patch):
        return [clone(item) for item in patch if DIRECTIVE not in item]
    merged = clone(old)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        place = next((place for place, known in enumerate(merged) if known.get(key) == item[key]), None)
        if item.get(DIRECTIVE) == "delete":
            merged = [known for known in merged if known.get(key) != item[key]]
        elif place is None:
            merged.append({name: value for name, value in clone(item).items() if not name.startswith("$")})
        else:
            merged[place] = _objects(merged[place], item, schema.items)
    return merged


def _take(merged: Json, key: str, values: list[Any]) -> None:
    """Take primitives out of a list."""
    merged[key] = [value for value in merged.get(key, []) if value not in values]


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Sort a list as the patch says; what it does not name comes last, in its old order."""
    wanted = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]
    places = {value: place for place, value in enumerate(wanted)}

    def place(item: Any) -> int:
        return places.get(item.get(key) if isinstance(item, dict) else item, len(places))

    return sorted(items, key=place)
