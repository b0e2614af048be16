"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json, clone
from quadra_matrix.testing.kubernetes.problems import Refused, bad_request, unprocessable


def json_patched(thing: Json, operations: Any) -> Json:
    """Return ``thing`` after all operations. Raises a 422 when a ``test`` fails or a path leads nowhere."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    patched = clone(thing)
    for operation in operations:
        patched = _applied(patched, operation)
    if not isinstance(patched, dict):
        raise unprocessable("the patch leaves no object")
    return patched


def merge_patched(thing: Any, patch: Any) -> Any:
    """Return ``thing`` with the members of ``patch`` in place of its own; a null takes one away."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = clone(thing) if isinstance(thing, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), value)
    return merged


def _applied(document: Any, operation: Any) -> Any:
    """Return the document after one operation."""
    try:
        name, path = operation["op"], _path(operation["path"])
        if name == "test":
            found, wanted = _at(document, path), operation.get("value")
            if found != wanted or type(found) is not type(wanted):
                raise unprocessable(f"testing path {operation['path']} failed")
            return document
        if name == "remove":
            return _without(document, path)
        if name in {"add", "replace"}:
            return _with(document, path, clone(operation["value"]), insert=name == "add")
        if name in {"move", "copy"}:
            source = _path(operation["from"])
            value = clone(_at(document, source))
            return _with(_without(document, source) if name == "move" else document, path, value, insert=True)
    except (KeyError, TypeError, AttributeError) as missing:
        raise bad_request(f"a JSON patch operation is not well formed: {missing}") from missing
    raise bad_request(f"unexpected JSON patch operation {name!r}")


def _path(pointer: str) -> Sequence[str]:
    """Return the parts of a JSON pointer."""
    if pointer and not pointer.startswith("/"):
        raise bad_request(f"a JSON pointer starts with a slash: {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(document: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path."""
    for part in path:
        document = document[_index(document, part)] if isinstance(document, list) else _member(document, part, path)
    return document


def _with(document: Any, path: Sequence[str], value: Any, *, insert: bool) -> Any:
    """Put a value at a path: in place of another one, or before it in a list."""
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        if not insert:
            parent[_index(parent, last)] = value
        elif last == "-":
            parent.append(value)
        else:
            parent.insert(_index(parent, last, beyond=1), value)
    elif isinstance(parent, dict):
        if not insert:
            _member(parent, last, path)
        parent[last] = value
    else:
        raise _nowhere(path)
    return document


def _without(document: Any, path: Sequence[str]) -> Any:
    """Take away what stands at a path."""
    if not path:
        raise unprocessable("an object cannot be taken out of itself")
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, last)]
    else:
        _member(parent, last, path)
        del parent[last]
    return document


def _index(items: list[Any], part: str, beyond: int = 0) -> int:
    if not part.isdecimal() or int(part) >= len(items) + beyond:
        raise unprocessable(f"the list has no place {part!r}")
    return int(part)


def _member(document: Any, part: str, path: Sequence[str]) -> Any:
    if not isinstance(document, dict) or part not in document:
        raise _nowhere(path)
    return document[part]


def _nowhere(path: Sequence[str]) -> Refused:
    return unprocessable(f"the path /{'/'.join(path)} does not exist")
