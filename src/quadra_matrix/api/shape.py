"""A type as the wire sees it: strict, closed and finite, whatever its own configuration left open.

Works on pydantic's core schema, so that it holds for every nested model, dataclass and TypedDict, and so that the
objects that come out are instances of the author's own classes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, CoreSchema, SchemaSerializer, SchemaValidator

from quadra_matrix.api.keys import counter_of

if TYPE_CHECKING:
    from quadra_matrix.api.msgspec import StructShape

_CONFIG = CoreConfig(strict=True, allow_inf_nan=False)
"""What holds for values outside of any model, as the floats of a bare ``list[float]``."""

_CLASSES = frozenset({"model", "dataclass"})
_OBJECTS = _CLASSES | {"typed-dict"}
_SEQUENCES = frozenset({"list", "set", "frozenset", "tuple"})
_ANYTHING = frozenset({"any", "json", "is-instance", "function-plain"})
_OPAQUE = frozenset({"default", "metadata", "expected", "cls", "serialization"})
"""Keys of a core schema that hold values, not schemas."""
_NAMED = frozenset({"fields", "choices"})
"""Keys that hold schemas by names of the author's, which may be any of the words above."""


class Shape:
    """Validators and a serializer for one type, built once. May be shared between threads."""

    __slots__ = (
        "_loose",
        "_to_json",
        "check_python",
        "core",
        "count_keys",
        "holds_anything",
        "instance_of",
        "kind",
        "read_json",
    )

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        adapter = TypeAdapter[Any](kind)
        self._loose = adapter.core_schema
        self.core = tighten(self._loose)
        self.count_keys = counter_of(self.core)
        self.holds_anything = _holds_anything(self.core)
        # Without _use_prebuilt=False pydantic-core takes the validator that the class was born with, lax and open.
        self.read_json = SchemaValidator(self.core, _CONFIG, _use_prebuilt=False).validate_json
        again = tighten(self._loose, "recheck")
        self.check_python = SchemaValidator(again, _CONFIG, _use_prebuilt=False).validate_python
        is_class = isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))
        self.instance_of: type | tuple[()] = kind if is_class else ()
        self._to_json = SchemaSerializer(self.core, _CONFIG, _use_prebuilt=False).to_json

    def __repr__(self) -> str:
        return f"Shape({self.kind!r})"

    def write(self, value: Any) -> bytes:
        """Return the JSON of a value; one of another type is written as it is. NaN becomes null."""
        return self._to_json(value, by_alias=True, warnings=False)

    def few_errors(self, raw: bytes) -> ValidationError | None:
        """Return the first error of every list, or None if unknown keys are all that is wrong with a refused text."""
        brief = SchemaValidator(tighten(self._loose, "brief"), _CONFIG, _use_prebuilt=False)
        try:
            brief.validate_json(raw)
        except ValidationError as refused:
            return refused
        return None


def is_struct(kind: Any) -> bool:
    """Tell whether a type is a msgspec Struct, without msgspec."""
    return isinstance(kind, type) and hasattr(kind, "__struct_config__")


def shape_of(kind: Any) -> Shape | StructShape:
    """Return the shape of a model, dataclass, TypedDict, Struct or anything else that pydantic knows."""
    if not is_struct(kind):
        return Shape(kind)
    from quadra_matrix.api.msgspec import StructShape

    return StructShape(kind)


Purpose = Literal["read", "recheck", "brief"]
"""What a schema is tightened for: to read requests, to check objects again, to find few of very many errors."""


def tighten(core: CoreSchema, purpose: Purpose = "read") -> CoreSchema:
    """Return the schema with every object strict and closed and every number finite.

    What a model's own configuration says about ``strict`` and ``extra`` is kept; only silence is filled. Infinity and
    NaN are refused in any case: JSON cannot carry them.
    """
    tightened: CoreSchema = _tighten(core, purpose)
    return tightened


def _tighten(node: Any, purpose: Purpose) -> Any:
    """Return one node of a core schema, tightened, with all below it."""
    if isinstance(node, list):
        return [_tighten(item, purpose) for item in node]
    if isinstance(node, tuple):
        return tuple(_tighten(item, purpose) for item in node)
    if not isinstance(node, dict):
        return node
    copy = {key: _tighten_below(key, value, purpose) for key, value in node.items()}
    kind = copy.get("type")
    if kind in _OBJECTS:
        copy["config"] = _config_of(copy, purpose)
        copy.pop("revalidate_instances", None)
        said = getattr(copy.get("cls"), "__pydantic_config__", None) or {}
        if kind == "typed-dict" and purpose != "brief" and "extra" not in said:
            copy["extra_behavior"] = "forbid"  # pydantic writes "ignore" here where the author has said nothing
    elif kind == "float":
        copy["allow_inf_nan"] = False
    elif kind in _SEQUENCES and purpose == "brief":
        copy["fail_fast"] = True
    return copy


def _tighten_below(key: str, value: Any, purpose: Purpose) -> Any:
    """Return what stands under one key of a node, tightened."""
    if key in _OPAQUE:
        return value
    if key in _NAMED and isinstance(value, dict):
        return {name: _tighten(schema, purpose) for name, schema in value.items()}
    return _tighten(value, purpose)


def _config_of(node: dict[str, Any], purpose: Purpose) -> dict[str, Any]:
    """Return the configuration of one object with its gaps filled."""
    config = {"strict": True, **(node.get("config") or {}), "allow_inf_nan": False, "ser_json_inf_nan": "null"}
    if node["type"] in _CLASSES and not node.get("root_model"):
        config.setdefault("extra_fields_behavior", "forbid")
    if purpose == "recheck":
        config["revalidate_instances"] = "always"
    if purpose != "read" and node["type"] in _CLASSES:
        # Of an object that was checked again: what a subclass adds is not written, so it breaks nothing.
        config["extra_fields_behavior"] = "ignore"
    return config


def _holds_anything(node: Any) -> bool:
    """Tell whether a schema has a place for any value, where pydantic lets an overflowing number pass."""
    if isinstance(node, list | tuple):
        return any(map(_holds_anything, node))
    if not isinstance(node, dict):
        return False
    if node.get("type") in _ANYTHING:
        return True
    for key, value in node.items():
        named = key in _NAMED and isinstance(value, dict)
        if key not in _OPAQUE and _holds_anything(list(value.values()) if named else value):
            return True
    return False
