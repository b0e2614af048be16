"""The record of deliveries in a ConfigMap, and who moves a rollout on in a coordination Lease."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import ceil

from pydantic import ValidationError

from quadra_matrix.delivery.desk import LEASE
from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.cluster import Objects, Resource
from quadra_matrix.delivery.kubernetes.patches import Json
from quadra_matrix.delivery.model import Lease, Record
from quadra_matrix.delivery.ports import Stored
from quadra_matrix.delivery.state import from_json, to_json
from quadra_matrix.errors import (
    ClusterForbidden,
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
    StateChanged,
    StateUnreadable,
    StateUnwritable,
)

KEY = "record.json"
NOBODY = ""
"""Holder of a Lease that nobody holds."""
MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


class ClusterState:
    """A ``State`` in two objects of one name. The lease is written first: it is the fence.

    The lease of a record is kept in the Lease alone, so whoever takes a rollout over makes the next write of whoever
    had it fail, whichever of the two objects that one writes.
    """

    def __init__(self, objects: Objects, name: str, labels: dict[str, str]) -> None:
        self._objects, self._name, self._labels = objects, name, {**labels, names.MANAGED_BY: names.OURS}
        self._last: Stored | None = None

    def read(self) -> Stored:
        """Return the record; an empty one where nothing was ever stored."""
        lease, record = self._find(Resource.LEASE), self._find(Resource.CONFIG_MAP)
        try:
            found = Record() if record is None else from_json(record["data"][KEY].encode())
            held = None if lease is None else lease_of(lease)
        except (ValidationError, ValueError, KeyError) as broken:
            place = f"ConfigMap {self._name}"
            raise StateUnreadable(place, "it is not a record of deliveries") from broken
        self._last = Stored(replace(found, lease=held), f"{_version(lease)}/{_version(record)}")
        return self._last

    def swap(self, record: Record, revision: str) -> Stored:
        """Store a record if the revision is still the one that was read."""
        last = self._last
        seen = last if last is not None and last.revision == revision else self.read()
        if seen.revision != revision:
            raise StateChanged(f"ConfigMap {self._name}")
        lease, stored = revision.split("/")
        if record.lease != seen.record.lease:
            lease = self._put(Resource.LEASE, {"spec": _spec(record.lease)}, lease)
        bare, had = replace(record, lease=None), replace(seen.record, lease=None)
        if bare != had or not stored:
            stored = self._put(Resource.CONFIG_MAP, {"data": _data(bare)}, stored)
        self._last = Stored(record, f"{lease}/{stored}")
        return self._last

    def _find(self, resource: Resource) -> Json | None:
        try:
            return self._objects.get(resource, self._name)
        except ObjectMissing:
            return None

    def _put(self, resource: Resource, content: Json, version: str) -> str:
        """Write one object and return its version. The server refuses another version than the one that was read."""
        metadata: Json = {"name": self._name, "labels": self._labels}
        if version:
            metadata["resourceVersion"] = version
        place = f"{resource.plural}/{self._name}"
        try:
            written = self._objects.put(resource, {**_kind(resource), "metadata": metadata, **content})
        except (ObjectChanged, ObjectMissing) as changed:
            raise StateChanged(place) from changed
        except (ObjectRefused, ClusterForbidden) as refused:
            raise StateUnwritable(place, refused.reason) from refused
        return str(written["metadata"]["resourceVersion"])


def lease_of(body: Json) -> Lease | None:
    """Return who holds a Lease; None when nobody does."""
    spec = body.get("spec") or {}
    if not spec.get("holderIdentity"):
        return None
    since, renewed = _seconds(spec["acquireTime"]), _seconds(spec["renewTime"])
    return Lease(spec["holderIdentity"], since, renewed + spec["leaseDurationSeconds"])


def _spec(lease: Lease | None) -> Json:
    """Return the Lease of a holder; it was renewed its whole duration before it ends."""
    if lease is None:
        return {"holderIdentity": NOBODY, "leaseDurationSeconds": 1}
    seconds = max(1, ceil(min(LEASE, lease.until - lease.since)))
    return {
        "holderIdentity": lease.holder,
        "leaseDurationSeconds": seconds,
        "acquireTime": _moment(lease.since),
        "renewTime": _moment(lease.until - seconds),
    }


def _data(record: Record) -> dict[str, str]:
    """Return the record, and beside it what a person wants to see with kubectl."""
    rollout = record.rollout
    shown = (
        {}
        if rollout is None
        else {
            "candidate": rollout.progress.candidate,
            "stable": rollout.progress.stable,
            "phase": str(rollout.progress.phase),
            "because": rollout.progress.because,
        }
    )
    return {KEY: to_json(record).decode(), **shown}


def _kind(resource: Resource) -> Json:
    group = resource.api.removeprefix("apis/").removeprefix("api/")
    return {"apiVersion": group, "kind": {Resource.LEASE: "Lease", Resource.CONFIG_MAP: "ConfigMap"}[resource]}


def _version(body: Json | None) -> str:
    return "" if body is None else str(body["metadata"]["resourceVersion"])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(MOMENT)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
