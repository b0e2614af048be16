"""What a new document takes away from the clients of an old one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.api.downgrade import to_3_0
from quadra_matrix.api.fit import Comparison, Side
from quadra_matrix.api.problem import pointer
from quadra_matrix.errors import require

Document = Mapping[str, Any]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two documents."""

    pointer: str
    """JSON Pointer: into the old document for what was removed, else into the new one."""
    what: str
    is_breaking: bool


def compare(old: Document, new: Document) -> list[Change]:
    """Return the changes that clients of the old document notice, breaking ones first.

    A request breaks when the new document may refuse what the old one accepts, an answer when the new document may
    send what the old one excludes. Both documents may be 3.0 or 3.1.
    """
    return sorted(_changes(_as_3_0(old), _as_3_0(new)), key=lambda change: (not change.is_breaking, change.pointer))


def _as_3_0(document: Document) -> dict[str, Any]:
    """Return the document in the words of 3.0."""
    version = str(document.get("openapi", ""))
    require(version.startswith(("3.0", "3.1")), "openapi", version, "3.0 or 3.1")
    return to_3_0(dict(document)) if version.startswith("3.1") else dict(document)


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Yield the changes of every path."""
    before, after = _by_shape(old), _by_shape(new)
    sides = _side(old), _side(new)
    for shape, (path, item) in before.items():
        if shape not in after:
            yield Change(pointer("paths", path), "the path was removed", True)
            continue
        new_path, new_item = after[shape]
        for method in METHODS:
            if method in item and method not in new_item:
                yield Change(pointer("paths", path, method), "the operation was removed", True)
            elif method in item:
                yield from _Operation(*sides, path, new_path, method).changes(item, new_item)
            elif method in new_item:
                yield Change(pointer("paths", new_path, method), "the operation is new", False)
    for shape, (path, _) in after.items():
        if shape not in before:
            yield Change(pointer("paths", path), "the path is new", False)


def _by_shape(document: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the paths by what their addresses look like: the name of a variable changes nothing."""
    return {re.sub(r"\{[^}]*\}", "{}", path): (path, item) for path, item in document.get("paths", {}).items()}


def _side(document: dict[str, Any]) -> Side:
    return Side(document.get("components", {}).get("schemas", {}))


@dataclass(frozen=True, slots=True)
class _Operation:
    """Compares one operation of two documents."""

    old: Side
    new: Side
    old_path: str
    path: str
    method: str

    def changes(self, old_item: dict[str, Any], new_item: dict[str, Any]) -> Iterator[Change]:
        """Yield every change of the operation."""
        old, new = old_item[self.method], new_item[self.method]
        yield from self._parameters(_parameters(old_item, old, self.old_path), _parameters(new_item, new, self.path))
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(old.get("responses", {}), new.get("responses", {}))
        if new.get("security") and not old.get("security"):
            yield self._change("security", what="the operation asks for credentials", is_breaking=True)
        if old.get("operationId") != new.get("operationId"):
            yield self._change(
                "operationId", what="generated clients name the operation differently", is_breaking=False
            )

    def _change(self, *steps: str | int, what: str, is_breaking: bool) -> Change:
        return Change(pointer("paths", self.path, self.method, *steps), what, is_breaking)

    def _schema(self, old: Any, new: Any, *steps: str | int) -> Iterator[Change]:
        """Yield what a client may no longer send."""
        for misfit in Comparison(self.old, self.new).misfits(old, new):
            what = misfit.reason.replace("required, and may be missing", "the field is now required")
            yield self._change(*steps, *misfit.place, what=what, is_breaking=True)

    def _parameters(self, old: dict[Any, Any], new: dict[Any, Any]) -> Iterator[Change]:
        for key, (index, parameter) in new.items():
            at = ("parameters", index)
            if key not in old:
                needed = bool(parameter.get("required"))
                what = f"the {'required ' if needed else ''}{key[0]} parameter {key[1]} is new"
                yield self._change(*at, what=what, is_breaking=needed)
                continue
            before = old[key][1]
            if parameter.get("required") and not before.get("required"):
                yield self._change(*at, "required", what=f"{key[1]} is now required", is_breaking=True)
            yield from self._schema(before.get("schema", {}), parameter.get("schema", {}), *at, "schema")
        for key in old.keys() - new.keys():
            yield self._change("parameters", what=f"the {key[0]} parameter {key[1]} was removed", is_breaking=True)

    def _body(self, old: Any, new: Any) -> Iterator[Change]:
        if old is None and new is None:
            return
        if old is None or new is None:
            breaks = new is None or bool(new.get("required"))
            what = "the body was removed" if new is None else "a body is expected"
            yield self._change("requestBody", what=what, is_breaking=breaks)
            return
        if new.get("required") and not old.get("required"):
            yield self._change("requestBody", "required", what="the body is now required", is_breaking=True)
        for media, content in old.get("content", {}).items():
            at = ("requestBody", "content", media)
            if media not in new.get("content", {}):
                yield self._change(*at, what="the media type was removed", is_breaking=True)
            else:
                after = new["content"][media].get("schema", {})
                yield from self._schema(content.get("schema", {}), after, *at, "schema")

    def _responses(self, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
        for status in new.keys() - old.keys():
            what = f"status {status} is new"
            yield self._change("responses", status, what=what, is_breaking=status.startswith("2"))
        for status, response in old.items():
            if status not in new:
                what = f"status {status} was removed"
                yield self._change("responses", status, what=what, is_breaking=status.startswith("2"))
                continue
            for media, content in response.get("content", {}).items():
                at = ("responses", status, "content", media)
                if media not in new[status].get("content", {}):
                    yield self._change(*at, what="the media type was removed", is_breaking=True)
                    continue
                yield from self._answer(content, new[status]["content"][media], *at)

    def _answer(self, old: dict[str, Any], new: dict[str, Any], *at: str | int) -> Iterator[Change]:
        """Yield what a client may receive that it was promised never to."""
        comparison = Comparison(self.new, self.old, ignores_new_keys=True)
        for misfit in comparison.misfits(new.get("schema", {}), old.get("schema", {})):
            what = misfit.reason.replace("required, and may be missing", "the field was removed or may be missing")
            yield self._change(*at, "schema", *misfit.place, what=what, is_breaking=True)


def _parameters(item: dict[str, Any], operation: dict[str, Any], path: str) -> dict[Any, Any]:
    """Return (place, name) -> (index, parameter); variables of the path count by position, headers in lower case."""
    variables = re.findall(r"\{([^}]*)\}", path)
    found = {}
    for index, parameter in enumerate([*item.get("parameters", ()), *operation.get("parameters", ())]):
        name = parameter.get("name", "")
        if parameter.get("in") == "path":
            name = str(variables.index(name)) if name in variables else name
        elif parameter.get("in") == "header":
            name = name.lower()
        found[parameter.get("in"), name] = (index, parameter)
    return found
