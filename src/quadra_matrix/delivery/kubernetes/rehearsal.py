"""A rollout that writes nothing: the same driver and engine on a copy of the objects, where pods are ready at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

from quadra_matrix.clock import Clock
from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.kubernetes.cluster import Cluster, Resource
from quadra_matrix.delivery.kubernetes.ground import ground
from quadra_matrix.delivery.kubernetes.patches import Json, applied, holds
from quadra_matrix.delivery.model import Kind, Rollout
from quadra_matrix.delivery.plan import Check, Plan, StepHook
from quadra_matrix.delivery.site import Order, Site, unattended, unseen
from quadra_matrix.errors import ObjectChanged

RECORD = frozenset({Resource.CONFIG_MAP, Resource.LEASE})
RATE = 10_000
"""Requests a second of each version in a rehearsal: enough to decide every step in its time."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a rollout makes."""

    verb: str
    resource: str
    name: str
    operations: tuple[Json, ...] = ()

    @property
    def changes(self) -> dict[str, object]:
        """Path -> new value, without what is only compared or counted."""
        return {
            one["path"]: one.get("value")
            for one in self.operations
            if one["op"] != "test" and not one["path"].startswith("/metadata/annotations")
        }


class Rehearsed:
    """The ``Objects`` of a cluster as they would become. It reads from the cluster and writes to memory."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[Resource, str], Json] = {}
        self.calls: list[Call] = []
        self.records = 0
        """Writes of the record and the lease."""

    def get(self, resource: Resource, name: str) -> Json:
        """Return an object as it would be now."""
        place = resource, name
        if place not in self._known:
            self._known[place] = self._cluster.get(resource, name)
        return deepcopy(self._known[place])

    def list(self, resource: Resource, labels: Mapping[str, str]) -> list[Json]:
        """Return objects as they would be now: every pod that is asked for is there and ready."""
        if resource is Resource.POD:
            deployments = [body for (kind, _), body in self._known.items() if kind is Resource.DEPLOYMENT]
            found = deployments or self._cluster.list(Resource.POD, labels)
            return [pod for body in found for pod in pods_of(body)] if deployments else found
        for body in self._cluster.list(resource, labels):
            self._known.setdefault((resource, body["metadata"]["name"]), body)
        return [deepcopy(body) for (kind, _), body in self._known.items() if kind is resource]

    def patch(self, resource: Resource, name: str, operations: Sequence[Json]) -> Json:
        """Change an object in memory, and note the call."""
        body = self.get(resource, name)
        if not holds(body, operations):
            raise ObjectChanged(f"{resource.plural}/{name}")
        self._note(Call("patch", resource.plural, name, tuple(operations)), resource)
        return self._keep(resource, applied(body, operations))

    def put(self, resource: Resource, body: Json) -> Json:
        """Create or replace an object in memory, and note the call."""
        verb = "update" if "resourceVersion" in body["metadata"] else "create"
        self._note(Call(verb, resource.plural, body["metadata"]["name"]), resource)
        return self._keep(resource, body)

    def _note(self, call: Call, resource: Resource) -> None:
        if resource in RECORD:
            self.records += 1
        else:
            self.calls.append(call)

    def _keep(self, resource: Resource, body: Json) -> Json:
        kept = deepcopy(body)
        kept["metadata"]["resourceVersion"] = f"rehearsed-{len(self.calls) + self.records}"
        self._known[resource, kept["metadata"]["name"]] = kept
        return deepcopy(kept)


@dataclass
class Skipping:
    """A ``Clock`` whose sleeps are over at once. Not for several threads."""

    started: Clock
    slept: float = 0.0

    def now(self) -> float:
        """Return the wall time, with all that was slept."""
        return self.started.now() + self.slept

    def monotonic(self) -> float:
        """Return the monotonic time, with all that was slept."""
        return self.started.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Return at once."""
        self.slept += seconds


@dataclass(frozen=True, slots=True)
class Agreeable:
    """``Evidence`` of versions that are equally good, and an ``Outside`` where every check and hook holds."""

    clock: Clock
    checked: list[str] = field(default_factory=list)

    def read(self, version: str) -> Reading:
        """Return counters that grow with the clock."""
        return Reading({version: Counters(int(RATE * self.clock.monotonic()))})

    def check(self, checks: Sequence[Check], addresses: Sequence[str]) -> None:
        """Note what would be asked."""
        self.checked.extend(f"{one.method} {address}{one.path}" for address in addresses for one in checks)

    def run(self, hooks: Sequence[StepHook], rollout: Rollout) -> None:
        """Run nothing."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rollout would do if all goes well."""

    rollout: Rollout
    calls: tuple[Call, ...]
    checked: tuple[str, ...]
    records: int


def rehearse(
    cluster: Cluster, kind: Kind, version: str, plan: Plan, clock: Clock, *, order: Order | None = None
) -> Rehearsal:
    """Return the calls of a rollout that goes well. Refuses what a rollout would refuse at its beginning."""
    objects, skipping = Rehearsed(cluster), Skipping(clock)
    agreeable = Agreeable(skipping)
    quiet = replace(unattended(plan), notify=())
    found = ground(plan.place, kind, cluster, clock=skipping, objects=objects, anew=True)
    site = Site(replace(found, evidence=lambda _: agreeable, outside=agreeable), skipping)
    rollout = site.deploy(kind, version, quiet, unseen, order=order)
    return Rehearsal(rollout, tuple(objects.calls), tuple(agreeable.checked), objects.records)


def pods_of(deployment: Json) -> list[Json]:
    """Return the pods that a Deployment asks for, ready."""
    template, name = deployment["spec"]["template"], deployment["metadata"]["name"]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return [
        {"metadata": {**template["metadata"], "name": f"{name}-{place}"}, "spec": template["spec"], "status": ready}
        for place in range(deployment["spec"].get("replicas", 1))
    ]
