"""What the cluster holds of one service: read anew for every change, kept a moment for every look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from quadra_matrix.clock import Clock
from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.cluster import Objects, Resource
from quadra_matrix.delivery.kubernetes.names import Names
from quadra_matrix.delivery.kubernetes.patches import Json, drop, fence, put, swap
from quadra_matrix.delivery.kubernetes.slots import Before, Slot, Slots, slot_of

FRESH = 0.5
"""Seconds in which the questions of one look get the answer of one reading."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a Deployment is to become; None leaves a part as it is."""

    replicas: int | None = None
    image: str | None = None
    label: str | None = None
    traffic: str | None = None
    before: str | None = None
    """The annotation; an empty one takes it away, together with the revision."""


class Board:
    """The two Deployments of a service and their pods. Not for several threads."""

    def __init__(self, objects: Objects, app: Names, key: str, tracks: tuple[str, str], clock: Clock) -> None:
        self.objects, self.app, self._key, self._tracks, self._clock = objects, app, key, tracks, clock
        self._read: tuple[float, Slots] | None = None

    def now(self) -> Slots:
        """Return what is so now."""
        pods = self.objects.list(Resource.POD, {names.APP: self.app.app})
        first, second = (self._slot(track, pods) for track in self._tracks)
        self._read = self._clock.monotonic(), Slots(first, second)
        return self._read[1]

    def recent(self) -> Slots:
        """Return what was so within this look."""
        if self._read is not None and self._clock.monotonic() - self._read[0] < FRESH:
            return self._read[1]
        return self.now()

    def change(self, slot: Slot, change: Change) -> Slot:
        """Change a Deployment that is still as it was read, give it a new revision, and return it."""
        self.forget()
        asked = slot.replicas if change.replicas is None else change.replicas
        body = self.objects.patch(Resource.DEPLOYMENT, slot.name, operations(slot, change, new_revision(asked)))
        return replace(slot_of(body, self._key, ()), pods=slot.pods)

    def forget(self) -> None:
        """Read anew at the next question."""
        self._read = None

    def _slot(self, track: str, pods: Sequence[Json]) -> Slot:
        return slot_of(self.objects.get(Resource.DEPLOYMENT, self.app.slot(track)), self._key, pods)


def new_revision(asked: int) -> str:
    """Return a revision that never was, which tells how many pods were asked for with it."""
    return f"{asked}-{uuid4().hex[:12]}"


def asked_with(revision: str | None) -> int | None:
    """Return how many pods were asked for with a revision.

    >>> asked_with("7-0f0f0f0f0f0f")
    7
    """
    number = (revision or "").partition("-")[0]
    return int(number) if number.isdigit() else None


def operations(slot: Slot, change: Change, revision: str) -> list[Json]:
    """Return the patch that makes a change if the Deployment is still as it was read."""
    annotations, labels = ("metadata", "annotations"), ("spec", "template", "metadata", "labels")
    found = fence(slot.metadata, names.REVISION)
    if change.replicas is not None:
        found += swap(slot.replicas, change.replicas, "spec", "replicas")
    if change.image is not None:
        place = ("spec", "template", "spec", "containers", slot.container, "image")
        found += swap(slot.image, change.image, *place)
    for key, had, given in ((names.VERSION, slot.label, change.label), (names.TRAFFIC, slot.traffic, change.traffic)):
        if given is not None and given != (had or ""):
            found.append(put(given, *labels, key) if given else drop(*labels, key))
    if change.before == "":
        found += [drop(*annotations, key) for key, has in _ours(slot) if has]
        return found
    if change.before is not None:
        found.append(put(change.before, *annotations, names.BEFORE))
    return [*found, put(revision, *annotations, names.REVISION)]


def before_of(slot: Slot, stable: str, candidate: str, *, total: int, floor: int) -> Before:
    """Return what a rollout has to put back."""
    return Before(stable, candidate, slot.replicas, slot.image, slot.label, slot.traffic, total, floor)


def closed(before: Before) -> str:
    """Return the annotation of a rollout that is over."""
    return replace(before, is_open=False).text()


def _ours(slot: Slot) -> list[tuple[str, bool]]:
    return [(names.BEFORE, slot.before_text is not None), (names.REVISION, slot.revision is not None)]
