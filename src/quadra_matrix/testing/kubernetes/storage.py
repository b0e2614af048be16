"""The objects of a cluster, each with a version, and what happened to them in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quadra_matrix.testing.kubernetes.kinds import Kind
from quadra_matrix.testing.kubernetes.objects import Json, clone
from quadra_matrix.testing.kubernetes.problems import already_exists, conflict, expired, not_found

KEPT = 10_000
"""Changes that a watch may ask for; older ones are a 410."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where an object stands."""

    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to an object."""

    revision: int
    type: str
    """``ADDED``, ``MODIFIED`` or ``DELETED``."""
    key: Key
    after: Json
    """The object; of a deleted one its last state, with the revision of the deletion."""
    before: Json | None = None


@dataclass
class Storage:
    """Objects by place. Not for several threads: the cluster's lock is around it. What it returns is the caller's."""

    revision: int = 1
    changes: list[Change] = field(default_factory=list)
    oldest: int = 1
    """A watch from an older revision is refused."""
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    _objects: dict[Key, Json] = field(default_factory=dict)

    def find(self, key: Key) -> Json | None:
        """Return an object, or None."""
        found = self._objects.get(key)
        return None if found is None else clone(found)

    def get(self, key: Key) -> Json:
        """Return an object. Raises a 404."""
        found = self.find(key)
        if found is None:
            raise not_found(key.kind.plural, key.kind.group, key.name)
        return found

    def list(self, kind: Kind, namespace: str = "") -> Sequence[Json]:
        """Return the objects of a kind in name order; of all namespaces by default."""
        found = [
            (key.namespace, key.name, thing)
            for key, thing in self._objects.items()
            if key.kind is kind and namespace in {"", key.namespace}
        ]
        return [clone(thing) for _, _, thing in sorted(found, key=lambda each: each[:2])]

    def places(self) -> Sequence[Key]:
        """Return the places of all objects."""
        return list(self._objects)

    def create(self, key: Key, thing: Json) -> Json:
        """Store a new object. Raises a 409 when there is one."""
        if key in self._objects:
            raise already_exists(key.kind.plural, key.kind.group, key.name)
        return self._put("ADDED", key, thing)

    def update(self, key: Key, thing: Json) -> Json:
        """Store an object anew. Raises a 404, or a 409 when it has another version than the one given.

        A change of nothing is none: the version stays and nobody is told.
        """
        before = self.get(key)
        given = thing["metadata"].get("resourceVersion")
        if given not in {None, "", before["metadata"]["resourceVersion"]}:
            raise conflict(key.kind.plural, key.kind.group, key.name)
        thing["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        return before if thing == before else self._put("MODIFIED", key, thing, before)

    def delete(self, key: Key) -> Json:
        """Remove an object and return its last state. Raises a 404."""
        before = self.get(key)
        return self._put("DELETED", key, clone(before), before)

    def since(self, revision: int) -> Sequence[Change]:
        """Return what happened after ``revision``. Raises a 410 when that is too long ago."""
        if revision < self.oldest:
            raise expired(revision, self.oldest)
        first = len(self.changes)
        while first and self.changes[first - 1].revision > revision:
            first -= 1
        return self.changes[first:]

    def forget(self) -> None:
        """Forget what happened until now: a watch from an older revision is refused with a 410."""
        self.oldest = self.revision
        self.changes.clear()

    def _put(self, type_: str, key: Key, thing: Json, before: Json | None = None) -> Json:
        self.revision += 1
        thing["metadata"]["resourceVersion"] = str(self.revision)
        if type_ == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = clone(thing)
        change = Change(self.revision, type_, key, clone(thing), before)
        self.changes.append(change)
        if len(self.changes) > KEPT:
            del self.changes[: KEPT // 2]
            self.oldest = self.changes[0].revision - 1
        for listener in self.listeners:
            listener(change)
        return clone(thing)
