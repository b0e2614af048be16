"""What is missing or wrong in a document, beyond the grammar of OpenAPI."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.api.diff import METHODS
from quadra_matrix.api.problem import pointer
from quadra_matrix.api.schemas import references


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that readers or generated clients would stumble over."""

    pointer: str
    what: str


def remarks(document: Mapping[str, Any]) -> list[Remark]:
    """Return every remark on an OpenAPI document, in the order of its paths."""
    return [*_operations(document), *_ids(document), *_references(document)]


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document.get("paths", {}).items():
        yield from ((path, method, item[method]) for method in METHODS if method in item)


def _operations(document: Mapping[str, Any]) -> Iterator[Remark]:
    """Yield what single operations lack."""
    for path, method, operation in _each(document):
        at = ("paths", path, method)
        if not operation.get("summary"):
            yield Remark(pointer(*at), "has no summary; give the view a docstring")
        responses = operation.get("responses", {})
        if not any(status.startswith(("1", "2", "3")) for status in responses):
            yield Remark(pointer(*at, "responses"), "says nothing about its answer; give the view a return hint")
        named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter.get("in") == "path"}
        for missing in sorted(set(re.findall(r"\{([^}]*)\}", path)) ^ named):
            yield Remark(pointer(*at, "parameters"), f"{missing} is not in the path and the parameters alike")
        for name in (name for entry in operation.get("security") or () for name in entry):
            if name not in document.get("components", {}).get("securitySchemes", {}):
                yield Remark(pointer(*at, "security"), f"{name} is not among the security schemes")


def _ids(document: Mapping[str, Any]) -> Iterator[Remark]:
    """Yield ids that more than one operation has."""
    counted = Counter(operation.get("operationId") for _, _, operation in _each(document))
    for path, method, operation in _each(document):
        if counted[operation.get("operationId")] > 1:
            yield Remark(pointer("paths", path, method, "operationId"), "is not the only operation with this id")


def _references(document: Mapping[str, Any]) -> Iterator[Remark]:
    """Yield schemas that are referred to and missing."""
    known = document.get("components", {}).get("schemas", {})
    for name in sorted(set(references({"$": [document.get("paths"), known]})) - set(known)):
        yield Remark(pointer("components", "schemas", name), "is referred to and missing")
