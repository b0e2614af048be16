"""JSON patches: operations that compare before they change; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

Json = dict[str, Any]


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer.

    >>> pointer("metadata", "annotations", "quadra-matrix/before")
    '/metadata/annotations/quadra-matrix~1before'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def test(value: object, *parts: str | int) -> Json:
    """Return the operation that fails unless ``value`` stands there."""
    return {"op": "test", "path": pointer(*parts), "value": value}


def put(value: object, *parts: str | int) -> Json:
    """Return the operation that sets a member, new or not."""
    return {"op": "add", "path": pointer(*parts), "value": value}


def drop(*parts: str | int) -> Json:
    """Return the operation that takes a member away."""
    return {"op": "remove", "path": pointer(*parts)}


def swap(before: object, after: object, *parts: str | int) -> list[Json]:
    """Return the operations that change a value that must still be the one that was read; none for no change."""
    if before == after:
        return []
    return [test(before, *parts), {"op": "replace", "path": pointer(*parts), "value": after}]


def fence(metadata: Json, annotation: str) -> list[Json]:
    """Return the operations that fail when an object was changed since it was read, and make room for an annotation.

    The annotation is compared where there is one; nothing at all may have changed where there is none.
    """
    annotations = metadata.get("annotations") or {}
    if annotation in annotations:
        return [test(annotations[annotation], "metadata", "annotations", annotation)]
    room = [] if annotations else [put({}, "metadata", "annotations")]
    return [test(metadata["resourceVersion"], "metadata", "resourceVersion"), *room]


def holds(document: Json, operations: Iterable[Json]) -> bool:
    """Tell whether every ``test`` would pass."""
    return all(_at(document, _parts(one["path"])) == one["value"] for one in operations if one["op"] == "test")


def applied(document: Json, operations: Iterable[Json]) -> Json:
    """Return the document after operations on members of objects and places of lists; the tests must hold."""
    changed = deepcopy(document)
    for one in operations:
        *way, last = _parts(one["path"])
        parent = _at(changed, way)
        place = int(last) if isinstance(parent, list) else last
        if one["op"] == "remove":
            del parent[place]
        elif one["op"] != "test":
            parent[place] = deepcopy(one["value"])
    return changed


def _parts(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _at(document: Any, parts: Sequence[str]) -> Any:
    """Return what stands at a path; None where nothing does."""
    for part in parts:
        if isinstance(document, list):
            document = document[int(part)] if part.isdigit() and int(part) < len(document) else None
        elif isinstance(document, dict):
            document = document.get(part)
        else:
            return None
    return document
