"""Why a value that one schema accepts may be refused by another: the question behind every breaking change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]
_Seen = frozenset[tuple[str, str]]

_LOWER = ("minimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
_SAME = ("pattern", "format", "multipleOf", "not")


@dataclass(frozen=True, slots=True)
class Misfit:
    """One reason, at one place below the schema."""

    place: tuple[str, ...]
    """Steps of a JSON Pointer from the schema down."""
    reason: str


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two documents, for its references."""

    named: Mapping[str, Schema] = field(default_factory=dict)

    def resolve(self, schema: Any) -> dict[str, Any]:
        """Return the schema with references followed and ``allOf`` merged into it."""
        if not isinstance(schema, Mapping):
            return {} if schema in (True, None) else {"not": {}}
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts = [self.named.get(schema["$ref"].rsplit("/", 1)[1], {})] if "$ref" in schema else []
        for part in [*parts, *schema.get("allOf", ())]:
            merged = _merge(self.resolve(part), merged)
        return merged


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return two schemas that both hold as one; where both speak, the one above counts."""
    merged = {**below, **above}
    if "properties" in below and "properties" in above:
        merged["properties"] = {**below["properties"], **above["properties"]}
    if "required" in below and "required" in above:
        merged["required"] = sorted({*below["required"], *above["required"]})
    return merged


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares schemas of two documents. ``fits`` asks whether all that ``given`` accepts is accepted by ``wanted``."""

    given: Side
    wanted: Side
    ignores_new_keys: bool = False
    """Tells that whoever wants a value skips keys it does not know, as clients do with answers."""

    def misfits(self, given: Any, wanted: Any) -> list[Misfit]:
        """Return every reason why a value of ``given`` may not be one of ``wanted``."""
        return list(self._walk(given, wanted, (), frozenset()))

    def _walk(self, given: Any, wanted: Any, place: tuple[str, ...], seen: _Seen) -> Iterator[Misfit]:
        pair = (_reference(given), _reference(wanted))
        if all(pair) and pair in seen:
            return  # a schema that contains itself has been compared on the way here
        seen |= {pair} if all(pair) else set()
        one, other = self.given.resolve(given), self.wanted.resolve(wanted)
        if one == other and self.given.named == self.wanted.named:
            return
        if _options(one) or _options(other):
            yield from self._alternatives(one, other, place, seen)
            return
        yield from _scalars(one, other, place)
        if isinstance(other.get("items"), Mapping) and "array" in _types(one):
            yield from self._walk(one.get("items", {}), other["items"], (*place, "items"), seen)
        if "object" in _types(one) and "object" in _types(other):
            yield from self._objects(one, other, place, seen)

    def _alternatives(
        self, one: dict[str, Any], other: dict[str, Any], place: tuple[str, ...], seen: _Seen
    ) -> Iterator[Misfit]:
        """Yield the options of one side that none of the other side's takes."""
        if one.get("nullable") and not _takes_null(other):
            yield Misfit(place, "null is no longer among the values")
        wanted = _options(other) or [other]
        for index, option in enumerate(_options(one) or [one]):
            found = [list(self._walk(option, choice, place, seen)) for choice in wanted]
            if all(found):
                best = min(found, key=len)
                yield from best if len(wanted) == 1 else [Misfit(place, f"alternative {index} has no counterpart")]

    def _objects(
        self, one: dict[str, Any], other: dict[str, Any], place: tuple[str, ...], seen: _Seen
    ) -> Iterator[Misfit]:
        """Yield what is wrong with the keys of two objects."""
        mine, theirs = one.get("properties", {}), other.get("properties", {})
        for name in other.get("required", ()):
            if name not in one.get("required", ()):
                yield Misfit((*place, "properties", name), "required, and may be missing")
        for name in mine:
            if name in theirs:
                yield from self._walk(mine[name], theirs[name], (*place, "properties", name), seen)
            elif other.get("additionalProperties") is False and not self.ignores_new_keys:
                yield Misfit((*place, "properties", name), "no longer known")
        if self.ignores_new_keys:
            yield from (
                Misfit((*place, "properties", name), "no longer there")
                for name in theirs
                if name not in mine and name not in other.get("required", ())
            )
            return
        extra, welcome = one.get("additionalProperties", True), other.get("additionalProperties", True)
        if extra is not False and welcome is False:
            yield Misfit((*place, "additionalProperties"), "further keys are no longer accepted")
        elif isinstance(extra, Mapping) and isinstance(welcome, Mapping):
            yield from self._walk(extra, welcome, (*place, "additionalProperties"), seen)


def _reference(schema: Any) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""


def _options(schema: Schema) -> list[Any]:
    """Return the alternatives of a schema, if it has any."""
    return [*schema.get("anyOf", ()), *schema.get("oneOf", ())]


def _takes_null(schema: Schema) -> bool:
    return bool(schema.get("nullable")) or not (schema.keys() & {"type", "enum", "anyOf", "oneOf"})


def _types(schema: Schema) -> set[str]:
    """Return the types that a schema accepts, null aside."""
    if "type" in schema:
        return {schema["type"], "integer"} if schema["type"] == "number" else {schema["type"]}
    if "enum" in schema:
        return set()
    return {"string", "number", "integer", "boolean", "array", "object"}


def _scalars(one: dict[str, Any], other: dict[str, Any], place: tuple[str, ...]) -> Iterator[Misfit]:
    """Yield what is wrong with the keywords that need no look below."""
    lost = _types(one) - _types(other) if other.get("type") else set()
    if lost:
        yield Misfit((*place, "type"), f"{', '.join(sorted(lost))} became {other['type']}")
        return
    if one.get("nullable") and not _takes_null(other):
        yield Misfit((*place, "nullable"), "null is no longer among the values")
    if "enum" in other:
        values = [value for value in one.get("enum", ()) if value not in other["enum"]]
        if values or "enum" not in one:
            yield Misfit((*place, "enum"), f"{', '.join(map(repr, values)) or 'any value'} is not among the values")
    for names, is_narrower in ((_LOWER, float.__gt__), (_UPPER, float.__lt__)):
        for name in names:
            if name in other and (name not in one or is_narrower(float(other[name]), float(one[name]))):
                yield Misfit((*place, name), f"{one.get(name, 'no limit')} became {other[name]}")
    for name in ("exclusiveMinimum", "exclusiveMaximum"):
        if other.get(name) and not one.get(name) and one.get(name[9:].lower()) == other.get(name[9:].lower()):
            yield Misfit((*place, name), "the limit itself is no longer accepted")
    if other.get("uniqueItems") and not one.get("uniqueItems"):
        yield Misfit((*place, "uniqueItems"), "items must differ from each other")
    for name in _SAME:
        if name in other and other[name] != one.get(name):
            yield Misfit((*place, name), f"{one.get(name, 'none')} became {other[name]}")
