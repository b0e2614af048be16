"""The OpenAPI v3 documents of the server: what clients validate, merge and explain by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quadra_matrix.testing.kubernetes.kinds import Catalogue, Kind
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.schemas import PREFIX, Schemas

COMPONENTS = "#/components/schemas/"
PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def document(path: str, catalogue: Catalogue, schemas: Schemas) -> Json | None:
    """Return the document at an address below /openapi/v3; None when there is none."""
    roots = {root_of(*version): version for version in (("", "v1"), *catalogue.versions())}
    wanted = path.strip("/").removeprefix("openapi/v3").strip("/")
    if not wanted:
        return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}?hash=0"} for root in roots}}
    if wanted not in roots:
        return None
    kinds = catalogue.of_group(*roots[wanted])
    names = [schemas.names.get((kind.group, kind.version, kind.name)) for kind in kinds]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "fake"},
        "paths": {address: item for kind in kinds for address, item in paths_of(wanted, kind)},
        "components": {"schemas": closure([name for name in names if name], schemas.definitions)},
    }


def root_of(group: str, version: str) -> str:
    """Return the address of a group, without the first slash."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def paths_of(root: str, kind: Kind) -> Iterator[tuple[str, Json]]:
    """Yield the address of a kind's objects with what a client looks for there: may it ask for a dry run?"""
    middle = "/namespaces/{namespace}" if kind.namespaced else ""
    if not kind.only_created:
        named = {"group": kind.group, "version": kind.version, "kind": kind.name}
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in PARAMETERS]
        operation = {"x-kubernetes-group-version-kind": named, "x-kubernetes-action": "patch", "responses": {}}
        yield f"/{root}{middle}/{kind.plural}/{{name}}", {"patch": {**operation, "parameters": parameters}}


def closure(names: list[str], definitions: Mapping[str, Json]) -> Json:
    """Return these definitions and all that they refer to, as OpenAPI writes them."""
    found: Json = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = _translated(definitions[name], left)
    return found


def _translated(value: Any, met: list[str]) -> Any:
    """Return a part of a JSON schema as OpenAPI 3.0 writes it; names referred to are added to ``met``."""
    if isinstance(value, list):
        return [_translated(part, met) for part in value]
    if not isinstance(value, dict):
        return value
    translated = {}
    for key, part in value.items():
        if key == "$ref":
            met.append(part.removeprefix(PREFIX))
            translated[key] = COMPONENTS + met[-1]
        elif key == "type" and isinstance(part, list):
            translated[key] = next(name for name in part if name != "null")
        else:
            translated[key] = _translated(part, met)
    return translated
