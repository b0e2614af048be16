"""The published OpenAPI schemas of Kubernetes, read from the package kubernetes-validate, and those of our additions.

The schemas carry what the API server itself goes by: types, required fields, the keys by which lists are merged.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra_matrix.errors import MissingExtra
from quadra_matrix.testing.kubernetes.gateway import DEFINITIONS as GATEWAY
from quadra_matrix.testing.kubernetes.kinds import Kind
from quadra_matrix.testing.kubernetes.objects import Json

PREFIX = "#/$defs/"
OPEN: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""The schema of what may hold anything."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One place in the schema of a kind."""

    definition: Mapping[str, Any]
    definitions: Mapping[str, Json]

    def member(self, key: str) -> Schema:
        """Return the schema of a member of an object."""
        properties = self.definition.get("properties", {})
        found = properties.get(key, self.definition.get("additionalProperties"))
        return self._at(found if isinstance(found, dict) else {})

    @property
    def items(self) -> Schema:
        """Return the schema of a list's items."""
        return self._at(self.definition.get("items", {}))

    @property
    def merges(self) -> bool:
        """Tell whether a strategic merge patch merges this list."""
        return "merge" in str(self.definition.get("x-kubernetes-patch-strategy", "")).split(",")

    @property
    def merge_key(self) -> str | None:
        """Return the member by which a strategic merge patch tells the items of this list apart."""
        return self.definition.get("x-kubernetes-patch-merge-key")

    @property
    def is_atomic(self) -> bool:
        """Tell whether an object changes hands as a whole."""
        return self.definition.get("x-kubernetes-map-type") == "atomic"

    @property
    def map_keys(self) -> tuple[str, ...]:
        """Return the members by which server-side apply tells the items of this list apart; none when it does not."""
        return tuple(self.definition.get("x-kubernetes-list-map-keys", ()))

    @property
    def is_set(self) -> bool:
        """Tell whether every item of this list has owners of its own."""
        return self.definition.get("x-kubernetes-list-type") == "set"

    def _at(self, found: Mapping[str, Any]) -> Schema:
        return Schema(resolved(found, self.definitions), self.definitions)


def resolved(found: Mapping[str, Any], definitions: Mapping[str, Json]) -> Mapping[str, Any]:
    """Return a definition with the one it refers to put in; what stands beside the reference wins."""
    while (target := found.get("$ref")) is not None:
        rest = {key: value for key, value in found.items() if key != "$ref"}
        found = {**definitions[target.removeprefix(PREFIX)], **rest}
    return found


@dataclass(frozen=True, slots=True)
class Schemas:
    """The definitions of one version of Kubernetes. May be shared between threads."""

    definitions: Mapping[str, Json]
    names: Mapping[tuple[str, str, str], str]
    """Group, version and kind -> the name of the definition."""

    def of(self, kind: Kind) -> Schema:
        """Return the schema of a kind; an open one for a kind that no schema is known of."""
        name = self.names.get((kind.group, kind.version, kind.name))
        return Schema(OPEN if name is None else self.definitions[name], self.definitions)


@functools.cache
def schemas(version: str) -> Schemas:
    """Return the schemas of a version such as ``1.32``. Raises ``MissingExtra`` without the package."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("kubernetes_validate", "testing")
    root = Path(found.submodule_search_locations[0]) / "kubernetes-json-schema"
    file = root / f"v{version}.0-local" / "_definitions.json"
    definitions: dict[str, Json] = json.loads(file.read_text())["$defs"] | GATEWAY
    names = {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, definition in definitions.items()
        for gvk in definition.get("x-kubernetes-group-version-kind", ())
    }
    return Schemas(definitions, names)
