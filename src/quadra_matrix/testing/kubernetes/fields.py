"""Sets of fields: which places of an object somebody has a say in, and how such sets are written (FieldsV1)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json, clone
from quadra_matrix.testing.kubernetes.problems import bad_request
from quadra_matrix.testing.kubernetes.schemas import Schema

Path = tuple[str, ...]
"""The way to a place: ``f:name`` for a member, ``k:{...}`` for an item by its keys, ``v:...`` for an item by value."""

Fields = frozenset[Path]

SELF = "."
KEY_DEFAULTS = {"protocol": "TCP"}
"""Members that are part of a key and may be left out."""
UNOWNED = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")})
"""Places that name the object: nobody owns them."""


def fields_of(thing: Json, schema: Schema) -> Fields:
    """Return the places that an object says something about."""
    return frozenset(_paths(thing, schema, ())) - UNOWNED


def _paths(value: Any, schema: Schema, at: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value and not schema.is_atomic:
        for key, part in value.items():
            yield from _paths(part, schema.member(key), (*at, f"f:{key}"))
    elif isinstance(value, list) and schema.map_keys:
        for item in value:
            place = (*at, item_key(item, schema.map_keys))
            yield place
            yield from _paths(item, schema.items, place)
    elif isinstance(value, list) and schema.is_set:
        yield from ((*at, f"v:{json.dumps(item)}") for item in value)
    else:
        yield at


def item_key(item: Any, keys: Iterable[str]) -> str:
    """Return how an item of a list is told from the others. Raises a 400 for one that lacks a key."""
    found = {}
    for key in sorted(keys):
        value = item.get(key, KEY_DEFAULTS.get(key)) if isinstance(item, dict) else None
        if value is None:
            raise bad_request(f"associative list with keys has an element that omits key field {key!r}")
        found[key] = value
    return "k:" + json.dumps(found, separators=(",", ":"))


def value_at(thing: Any, path: Path) -> Any:
    """Return what stands at a place; None when nothing does."""
    for part in path:
        thing = _step(thing, part)
        if thing is None:
            return None
    return thing


def _step(thing: Any, part: str) -> Any:
    kind, _, name = part.partition(":")
    if kind == "f":
        return thing.get(name) if isinstance(thing, dict) else None
    place = _place(thing, part)
    return None if place is None else thing[place]


def _place(items: Any, part: str) -> int | None:
    """Return where an item stands in its list."""
    kind, _, text = part.partition(":")
    wanted = json.loads(text)
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if kind == "v" and item == wanted:
            return place
        if kind == "k" and all(item.get(key, KEY_DEFAULTS.get(key)) == value for key, value in wanted.items()):
            return place
    return None


def merged(live: Any, applied: Any, schema: Schema) -> Any:
    """Return ``live`` with what ``applied`` says put in, place by place."""
    if isinstance(live, dict) and isinstance(applied, dict) and not schema.is_atomic:
        both = clone(live)
        for key, value in applied.items():
            both[key] = merged(live[key], value, schema.member(key)) if key in live else clone(value)
        return both
    if isinstance(live, list) and isinstance(applied, list) and schema.map_keys:
        items = clone(live)
        for item in applied:
            place = _place(items, item_key(item, schema.map_keys))
            if place is None:
                items.append(clone(item))
            else:
                items[place] = merged(items[place], item, schema.items)
        return items
    if isinstance(live, list) and isinstance(applied, list) and schema.is_set:
        return [*live, *(item for item in applied if item not in live)]
    return clone(applied)


def removed(thing: Json, paths: Iterable[Path]) -> Json:
    """Return an object without what stands at these places."""
    left = clone(thing)
    for path in sorted(paths, key=len, reverse=True):
        parent, last = value_at(left, path[:-1]), path[-1]
        if last.startswith("f:") and isinstance(parent, dict):
            parent.pop(last[2:], None)
        elif (place := _place(parent, last) if not last.startswith("f:") else None) is not None:
            del parent[place]
    return left


def written(fields: Fields) -> Json:
    """Return a set of fields as objects carry it."""
    tree: Json = {}
    for path in sorted(fields):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[SELF] = {}
    return _trimmed(tree)


def _trimmed(node: Json) -> Json:
    """Return a tree in which a leaf is empty and only an inner node names itself."""
    if set(node) == {SELF}:
        return {}
    return {part: _trimmed(below) if part != SELF else {} for part, below in node.items()}


def read(tree: Mapping[str, Any], at: Path = ()) -> Fields:
    """Return the set of fields that an object carries."""
    if not tree:
        return frozenset({at}) if at else frozenset()
    found = {at} if SELF in tree else set()
    for part, below in tree.items():
        if part != SELF:
            found |= read(below, (*at, part))
    return frozenset(found)


def dotted(path: Path) -> str:
    """Return a place as people write it: ``.spec.template.spec.containers[name="web"].image``."""
    parts = []
    for part in path:
        kind, _, text = part.partition(":")
        if kind == "f":
            parts.append(f".{text}")
        elif kind == "v":
            parts.append(f"[={text}]")
        else:
            keys = ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(text).items())
            parts.append(f"[{keys}]")
    return "".join(parts)
