"""How many keys the text of a validated value had, so that a repeated key shows without reading the text again.

A counter is built from a core schema once. It exists only where the count is exact: the objects are models that
remember which fields were set, TypedDicts or dicts of those, and no code of the author ran in between. Everything
else is left to the careful reader, who is ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Counter = Callable[[Any], int]

_SCALARS = frozenset(
    {"str", "int", "float", "bool", "none", "decimal", "date", "time", "datetime", "timedelta", "uuid", "url", "bytes"}
    | {"literal", "enum"}
)
_ANY = {"type": "any"}


class Unknown(Exception):
    """Nobody can tell how many keys the text had."""


def counter_of(core: Mapping[str, Any]) -> Counter | None:
    """Return the counter of a schema, or None where the count is not certain."""
    try:
        return _Reading({}).counter(core) or _nothing
    except Unknown:
        return None


def _nothing(value: Any) -> int:
    return 0


class _Reading:
    """One walk over a core schema; ``counter`` returns None for a node where no object can be, or raises Unknown."""

    def __init__(self, definitions: dict[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions

    def counter(self, node: Mapping[str, Any]) -> Counter | None:
        """Return the counter of one node."""
        kind = node["type"]
        if kind in _SCALARS:
            return None
        read = self._definitions_ if kind == "definitions" else getattr(self, "_" + kind.replace("-", "_"), None)
        if read is None:
            raise Unknown
        found: Counter | None = read(node)
        return found

    def _definitions_(self, node: Mapping[str, Any]) -> Counter | None:
        table = {definition["ref"]: definition for definition in node["definitions"]}
        return _Reading({**self._definitions, **table}).counter(node["schema"])

    def _definition_ref(self, node: Mapping[str, Any]) -> Counter | None:
        reference = node["schema_ref"]
        if reference not in self._definitions:
            raise Unknown  # a schema that contains itself, which is being read right now
        others = {name: found for name, found in self._definitions.items() if name != reference}
        return _Reading(others).counter(self._definitions[reference])

    def _list(self, node: Mapping[str, Any]) -> Counter | None:
        item = self.counter(node.get("items_schema", _ANY))
        return None if item is None else lambda values: sum(map(item, values))

    _set = _frozenset = _list

    def _nullable(self, node: Mapping[str, Any]) -> Counter | None:
        inner = self.counter(node["schema"])
        return None if inner is None else lambda value: 0 if value is None else inner(value)

    def _default(self, node: Mapping[str, Any]) -> Counter | None:
        return self.counter(node["schema"])  # only asked for fields that the text has set

    def _model(self, node: Mapping[str, Any]) -> Counter:
        fields, config = node["schema"], node.get("config", {})
        touched = node.get("post_init") or node.get("custom_init") or node.get("root_model")
        if fields["type"] != "model-fields" or config.get("extra_fields_behavior") != "forbid" or touched:
            raise Unknown  # code of the author may have set fields, or an open model keeps keys elsewhere
        below = self._below(fields["fields"])
        if not below:
            return lambda value: len(value.__pydantic_fields_set__)

        def count(value: Any) -> int:
            given, members = value.__pydantic_fields_set__, value.__dict__
            return len(given) + sum(found(members[name]) for name, found in below.items() if name in given)

        return count

    def _typed_dict(self, node: Mapping[str, Any]) -> Counter:
        fields = node["fields"]
        filled_in = any(field["schema"]["type"] == "default" for field in fields.values())
        if node.get("extra_behavior") != "forbid" or filled_in:
            raise Unknown
        below = self._below(fields)
        return lambda value: len(value) + sum(found(value[name]) for name, found in below.items() if name in value)

    def _below(self, fields: Mapping[str, Any]) -> dict[str, Counter]:
        """Return the counters of the fields that hold objects."""
        return {name: found for name, field in fields.items() if (found := self.counter(field["schema"]))}

    def _dict(self, node: Mapping[str, Any]) -> Counter:
        if node.get("keys_schema", {}).get("type") != "str":
            raise Unknown
        below = self.counter(node.get("values_schema", _ANY))
        return len if below is None else lambda value: len(value) + sum(map(below, value.values()))

    def _union(self, node: Mapping[str, Any]) -> Counter | None:
        return self._by_class([choice[0] if isinstance(choice, tuple) else choice for choice in node["choices"]])

    def _tagged_union(self, node: Mapping[str, Any]) -> Counter | None:
        return self._by_class(list(node["choices"].values()))

    def _by_class(self, choices: list[Mapping[str, Any]]) -> Counter | None:
        """Count by the class of the value, where every choice that is an object has a class of its own."""
        classes: dict[type, Counter] = {}
        for choice in choices:
            found = self.counter(choice)
            if found is None:
                continue
            model = self._definitions.get(choice.get("schema_ref", ""), choice)
            if model["type"] != "model" or model["cls"] in classes:
                raise Unknown
            classes[model["cls"]] = found
        return (lambda value: classes.get(type(value), _nothing)(value)) if classes else None
