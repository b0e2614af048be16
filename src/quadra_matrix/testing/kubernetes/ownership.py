"""Who has a say in which fields, and server-side apply: it takes what nobody else holds, and gives up the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quadra_matrix.testing.kubernetes.fields import (
    Fields,
    Path,
    dotted,
    fields_of,
    merged,
    read,
    removed,
    value_at,
    written,
)
from quadra_matrix.testing.kubernetes.objects import Json, clone, dig
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.schemas import Schema

NOT_TRACKED = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    }
)
"""Metadata that the server writes."""


@dataclass(frozen=True, slots=True)
class Manager:
    """Somebody who writes an object, and the fields that are theirs."""

    name: str
    operation: str
    """``Apply`` or ``Update``."""
    api_version: str
    fields: Fields
    subresource: str = ""
    time: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return what tells one entry from another."""
        return self.name, self.operation, self.subresource

    def without(self, fields: Fields) -> Manager:
        """Return the same manager with fewer fields."""
        return replace(self, fields=self.fields - fields)


def managers_of(thing: Json) -> list[Manager]:
    """Return who manages an object."""
    return [
        Manager(
            entry["manager"],
            entry["operation"],
            entry["apiVersion"],
            read(entry.get("fieldsV1", {})),
            entry.get("subresource", ""),
            entry.get("time", ""),
        )
        for entry in dig(thing, "metadata", "managedFields", default=[])
    ]


def with_managers(thing: Json, managers: Sequence[Manager]) -> Json:
    """Return an object that says who manages it; who has no field left is not named."""
    entries = [
        {
            "manager": each.name,
            "operation": each.operation,
            "apiVersion": each.api_version,
            "time": each.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": written(each.fields),
            **({"subresource": each.subresource} if each.subresource else {}),
        }
        for each in managers
        if each.fields
    ]
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    return {**thing, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}


def tracked(before: Json | None, after: Json, writer: Manager, schema: Schema) -> Json:
    """Return ``after`` with the fields that the write changed in its writer's hands, and in nobody else's."""
    old, new = (_plain(each, status=writer.subresource == "status") for each in (before or {}, after))
    known = fields_of(old, schema) if before else frozenset()
    present = fields_of(new, schema)
    changed = frozenset(path for path in present if path not in known or _differs(path, old, new))
    gone = known - present
    managers = managers_of(before or {})
    if not changed and not gone:
        return with_managers(after, managers)
    kept = [each.without(gone if each.identity == writer.identity else gone | changed) for each in managers]
    mine = next((each for each in kept if each.identity == writer.identity), None)
    rest = [each for each in kept if each is not mine]
    own = changed | (mine.fields if mine else frozenset())
    return with_managers(after, [*rest, replace(writer, fields=own)])


def applied(live: Json, wanted: Json, writer: Manager, schema: Schema, *, force: bool) -> Json:
    """Return ``live`` as it is after ``writer`` applied ``wanted``.

    Raises a 409 that names every field which somebody else holds at another value, unless it is taken by ``force``.
    What the writer applied before and leaves out now goes, unless somebody else holds it too.
    """
    plain = _plain(wanted, status=writer.subresource == "status")
    asked = fields_of(plain, schema)
    managers = managers_of(live)
    others = [each for each in managers if each.identity != writer.identity]
    disputed = frozenset(path for path in asked if _differs(path, live, plain))
    conflicts = [(each, each.fields & disputed) for each in others if each.fields & disputed]
    if conflicts and not force:
        raise _conflict(conflicts)
    others = [each.without(disputed) for each in others]
    before = next((each.fields for each in managers if each.identity == writer.identity), frozenset())
    held = frozenset(path for each in others for path in each.fields)
    dropped = [
        path
        for path in before - asked
        if not any(other[: len(path)] == path for other in held) and not any(new[: len(path)] == path for new in asked)
    ]
    result: Json = removed(merged(live, plain, schema), dropped)
    same = before == asked and not disputed
    time = next((each.time for each in managers if each.identity == writer.identity), "") if same else writer.time
    return with_managers(result, [*others, replace(writer, fields=asked, time=time)])


def _differs(path: Path, one: Json, other: Json) -> bool:
    """Tell whether two objects say different things at a place; an item of a list is there or not."""
    first, second = value_at(one, path), value_at(other, path)
    if path[-1].startswith("k:"):
        return (first is None) is not (second is None)
    return bool(first != second)


def _plain(thing: Json, *, status: bool) -> Json:
    """Return an object without the metadata that is the server's."""
    plain = clone(thing)
    if not status:
        plain.pop("status", None)
    if "metadata" in plain:
        plain["metadata"] = {key: value for key, value in plain["metadata"].items() if key not in NOT_TRACKED}
    return plain


def _conflict(conflicts: Sequence[tuple[Manager, Fields]]) -> Refused:
    """Return the refusal that names the fields and who holds them."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{each.name}" using {each.api_version}',
            "field": dotted(path),
        }
        for each, fields in conflicts
        for path in sorted(fields)
    ]
    many = "conflict" if len(causes) == 1 else "conflicts"
    told = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    return Refused(409, "Conflict", f"Apply failed with {len(causes)} {many}: {told}", details={"causes": causes})
