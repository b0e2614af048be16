"""A type as the wire sees it: strict, closed and finite, whatever its own configuration left open.

Works on pydantic's core schema, so that it holds for every nested model, dataclass and TypedDict, and so that the
objects that come out are instances of the author's own classes.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic_core import CoreConfig, CoreSchema, SchemaSerializer, SchemaValidator

from quadra_matrix.api.keys import counter_of

_CONFIG = CoreConfig(strict=True, allow_inf_nan=False)
"""What holds for values outside of any model, as the floats of a bare ``list[float]``."""

_CLASSES = frozenset({"model", "dataclass"})
_OBJECTS = _CLASSES | {"typed-dict"}
_OPAQUE = frozenset({"default", "metadata", "expected", "cls", "serialization"})
"""Keys of a core schema that hold values, not schemas."""


class Shape:
    """Validators and a serializer for one type, built once. May be shared between threads."""

    __slots__ = ("_to_json", "check_python", "core", "count_keys", "instance_of", "kind", "read_json")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        adapter = TypeAdapter[Any](kind)
        self.core = tighten(adapter.core_schema)
        self.count_keys = counter_of(self.core)
        # Without _use_prebuilt=False pydantic-core takes the validator that the class was born with, lax and open.
        self.read_json = SchemaValidator(self.core, _CONFIG, _use_prebuilt=False).validate_json
        again = tighten(adapter.core_schema, revalidate=True)
        self.check_python = SchemaValidator(again, _CONFIG, _use_prebuilt=False).validate_python
        self.instance_of: type | tuple[()] = self.core.get("cls", ()) if self.core["type"] in _CLASSES else ()
        self._to_json = SchemaSerializer(self.core, _CONFIG, _use_prebuilt=False).to_json

    def __repr__(self) -> str:
        return f"Shape({self.kind!r})"

    def write(self, value: Any) -> bytes:
        """Return the JSON of a value; one of another type is written as it is. NaN becomes null."""
        return self._to_json(value, by_alias=True, warnings=False)


def tighten(core: CoreSchema, *, revalidate: bool = False) -> CoreSchema:
    """Return the schema with every object strict and closed and every number finite.

    What a model's own configuration says about ``strict`` and ``extra`` is kept; only silence is filled. Infinity and
    NaN are refused in any case: JSON cannot carry them.
    """
    tightened: CoreSchema = _tighten(core, revalidate)
    return tightened


def _tighten(node: Any, revalidate: bool) -> Any:
    """Return one node of a core schema, tightened, with all below it."""
    if isinstance(node, list):
        return [_tighten(item, revalidate) for item in node]
    if isinstance(node, tuple):
        return tuple(_tighten(item, revalidate) for item in node)
    if not isinstance(node, dict):
        return node
    copy = {key: value if key in _OPAQUE else _tighten(value, revalidate) for key, value in node.items()}
    kind = copy.get("type")
    if kind in _OBJECTS:
        copy["config"] = _config_of(copy, revalidate)
        copy.pop("revalidate_instances", None)
        if kind == "typed-dict" and "extra" not in (getattr(copy.get("cls"), "__pydantic_config__", None) or {}):
            copy["extra_behavior"] = "forbid"  # pydantic writes "ignore" here where the author has said nothing
    elif kind == "float":
        copy["allow_inf_nan"] = False
    return copy


def _config_of(node: dict[str, Any], revalidate: bool) -> dict[str, Any]:
    """Return the configuration of one object with its gaps filled."""
    config = {"strict": True, **(node.get("config") or {}), "allow_inf_nan": False, "ser_json_inf_nan": "null"}
    if node["type"] in _CLASSES and not node.get("root_model"):
        config.setdefault("extra_fields_behavior", "forbid")
    if revalidate:
        config["revalidate_instances"] = "always"
        if node["type"] in _CLASSES:
            # What a subclass adds is not written, so it breaks nothing.
            config["extra_fields_behavior"] = "ignore"
    return config
