"""Types to JSON Schema components: what the validators accept, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema as core

from quadra_matrix.api.shape import Shape, is_struct

REF = "#/components/schemas/{model}"

NO_NUL = "^[^\\u0000]*$"
"""Every text that a request carries must fit it: NUL is refused, so the document says so."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a type: where requests carry it, or where answers do."""

    kind: Any
    is_answer: bool

    @property
    def mode(self) -> JsonSchemaMode:
        """Return pydantic's word for the direction."""
        return "serialization" if self.is_answer else "validation"


@dataclass(frozen=True, slots=True)
class Components:
    """The schemas of every use, and the named schemas they refer to."""

    of: dict[tuple[Any, bool], JsonSchemaValue]
    """(type, is_answer) -> schema, mostly a reference."""
    named: dict[str, JsonSchemaValue]

    def __getitem__(self, use: Use) -> JsonSchemaValue:
        return self.of[use.kind, use.is_answer]


def components_of(uses: Iterable[Use]) -> Components:
    """Return the schemas of all uses, each type once; types of one name in two modules keep apart."""
    distinct = list(dict.fromkeys((use.kind, use.is_answer, use.mode) for use in uses))
    structs = [kind for kind in dict.fromkeys(kind for kind, _, _ in distinct) if is_struct(kind)]
    distinct = [found for found in distinct if not is_struct(found[0])]
    shapes = {kind: Shape(kind) for kind in dict.fromkeys(kind for kind, _, _ in distinct)}
    inputs = [(str(index), mode, shapes[kind].core) for index, (kind, _, mode) in enumerate(distinct)]
    written, definitions = _Writer(ref_template=REF).generate_definitions(inputs)
    of = {(kind, is_answer): written[str(index), mode] for index, (kind, is_answer, mode) in enumerate(distinct)}
    named = _with_required_tags({str(name): schema for name, schema in definitions.items()}, written.values())
    if not structs:
        return Components(of, named)
    from quadra_matrix.api.msgspec import struct_schemas

    schemas, more = struct_schemas(structs, REF)
    of |= {(kind, way): schema for kind, schema in zip(structs, schemas, strict=True) for way in (True, False)}
    return Components(of, more | named)


def _with_required_tags(named: dict[str, JsonSchemaValue], roots: Iterable[Any]) -> dict[str, JsonSchemaValue]:
    """Return the named schemas with the tag of every tagged union required in its choices.

    The validator needs the tag to choose, also where its field has a default, which pydantic then calls optional.
    """
    required = {
        (reference["$ref"].rsplit("/", 1)[1], union["discriminator"]["propertyName"])
        for union in _unions([named, *roots])
        for reference in union.get("oneOf", ())
        if "$ref" in reference
    }
    for name, tag in sorted(required):
        schema = named[name]
        named[name] = {**schema, "required": list(dict.fromkeys([*schema.get("required", ()), tag]))}
    return named


def _unions(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every tagged union in a piece of a document."""
    if isinstance(node, dict):
        if isinstance(node.get("discriminator"), dict):
            yield node
        for value in node.values():
            yield from _unions(value)
    elif isinstance(node, list):
        for item in node:
            yield from _unions(item)


class _Writer(GenerateJsonSchema):
    """Writes what the tightened core schema says; pydantic's own looks at the class for some of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._chosen_names: dict[str, str] = {}

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of one node; remember the name that a class has chosen for documents."""
        chosen = getattr(schema.get("cls"), "__schema_name__", None)
        if chosen and "ref" in schema:
            self._chosen_names[schema["ref"]] = chosen
        return super().generate_inner(schema)

    def get_defs_ref(self, core_mode_ref: Any) -> Any:
        """Return the key of a definition, by its chosen name if it has one."""
        reference, mode = core_mode_ref
        if reference in self._chosen_names:
            module, _, identity = reference.rpartition(":")
            reference = f"{module.rpartition('.')[0]}.{self._chosen_names[reference]}:{identity}"
        return super().get_defs_ref((reference, mode))

    def model_schema(self, schema: core.ModelSchema) -> JsonSchemaValue:
        """Return a model's schema, closed if its validator is."""
        return _closed(super().model_schema(schema), schema)

    def dataclass_schema(self, schema: core.DataclassSchema) -> JsonSchemaValue:
        """Return a dataclass's schema, closed if its validator is."""
        return _closed(super().dataclass_schema(schema), schema)

    def typed_dict_schema(self, schema: core.TypedDictSchema) -> JsonSchemaValue:
        """Return a TypedDict's schema, closed if its validator is."""
        return _closed(super().typed_dict_schema(schema), schema)

    def str_schema(self, schema: core.StringSchema) -> JsonSchemaValue:
        """Return a text's schema; a text of a request has no NUL."""
        written = super().str_schema(schema)
        if self.mode == "validation":
            written.setdefault("pattern", NO_NUL)
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: a title that repeats the name says nothing."""
        return False


def _closed(written: JsonSchemaValue, schema: Any) -> JsonSchemaValue:
    """Return a written object that says whether more keys are welcome."""
    if schema.get("config", {}).get("extra_fields_behavior") == "forbid" and written.get("type") == "object":
        written.setdefault("additionalProperties", False)
    written.pop("title", None)
    return written


def has_shape(kind: Any) -> bool:
    """Tell whether a type has a JSON Schema at all."""
    try:
        components_of([Use(kind, is_answer=True)])
    except Exception:  # noqa: BLE001  pydantic raises a dozen kinds for types it does not know; any of them means no
        return False
    return True


def reachable(named: dict[str, JsonSchemaValue], roots: Iterable[Any]) -> dict[str, JsonSchemaValue]:
    """Return the named schemas that the roots refer to, directly or through others, sorted by name."""
    wanted: set[str] = set()
    todo = [reference for root in roots for reference in references(root)]
    while todo:
        name = todo.pop()
        if name in named and name not in wanted:
            wanted.add(name)
            todo += references(named[name])
    return {name: named[name] for name in sorted(wanted)}


def references(node: Any) -> list[str]:
    """Return the names of the components that a piece of a document refers to."""
    if isinstance(node, dict):
        here = [node["$ref"].rsplit("/", 1)[1]] if isinstance(node.get("$ref"), str) else []
        return here + [name for value in node.values() for name in references(value)]
    if isinstance(node, list):
        return [name for item in node for name in references(item)]
    return []


def resolve(named: dict[str, JsonSchemaValue], schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema that a reference leads to."""
    while "$ref" in schema:
        schema = named[schema["$ref"].rsplit("/", 1)[1]]
    return schema
