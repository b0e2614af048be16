"""The cluster behind the server: objects, controllers and time, under one lock."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Mapping, MutableMapping
from typing import Protocol

from quadra_matrix.clock import Clock
from quadra_matrix.testing.kubernetes.history import History
from quadra_matrix.testing.kubernetes.images import Image
from quadra_matrix.testing.kubernetes.kinds import NAMESPACE, POD, SERVICE, Kind
from quadra_matrix.testing.kubernetes.objects import Json, clone, moment, name_of, namespace_of
from quadra_matrix.testing.kubernetes.processes import Processes
from quadra_matrix.testing.kubernetes.storage import Key, Storage

NEVER = float("inf")
MOST_ROUNDS = 1000
"""Rounds of all controllers at one moment; more means that two of them undo each other."""
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of generated names: no vowels, so no words."""


class Controller(Protocol):
    """Makes the cluster what its objects ask for."""

    def reconcile(self, cluster: Cluster) -> float:
        """Do what is due now and return when, in the cluster's time, there is more to do; infinity for never."""


class Cluster:
    """Objects, and the controllers that act on them as time goes on.

    Time is simulated: it jumps from one moment at which something is due to the next, up to what the clock says,
    whenever somebody looks. So the same requests at the same times always give the same cluster. Hold ``lock`` around
    every use; ``changed`` is notified after each change.
    """

    def __init__(
        self, clock: Clock, images: Mapping[str, Image], capacity: int | None, processes: Processes | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.storage = Storage()
        self.images: MutableMapping[str, Image] = dict(images)
        self.capacity = capacity
        self.processes = processes
        self.loads: dict[tuple[str, str], float] = {}
        """Namespace and name of an autoscaler -> how many pods its load needs."""
        self.controllers: list[Controller] = []
        self.marks: dict[tuple[str, str], float] = {}
        """An object's uid and the name of an event -> when it happened, in the cluster's time."""
        self._clock = clock
        self.now = clock.monotonic()
        """The cluster's time: monotonic seconds."""
        self.history = History(lambda: self.now)
        self.storage.listeners.append(self.history.note)
        self._settled = 0
        self._due = NEVER
        self._made = 0
        self._addresses = 0

    def catch_up(self) -> None:
        """Let everything happen that is due by now."""
        with self.lock:
            until = self._clock.monotonic()
            self._settle(at_once=self.processes is not None and self.processes.changed())
            while self._due <= until:
                self.now = max(self.now, self._due)
                self._settle(at_once=True)
            self.now = max(self.now, until)

    def text_now(self) -> str:
        """Return the cluster's time as objects have it."""
        return moment(self.wall())

    def wall(self) -> float:
        """Return the cluster's time in seconds since the epoch."""
        return self._clock.now() - (self._clock.monotonic() - self.now)

    def mark(self, uid: str, event: str) -> float:
        """Return when something happened to an object: now, if it is the first time that somebody asks."""
        return self.marks.setdefault((uid, event), self.now)

    def key(self, kind: Kind, thing: Json) -> Key:
        """Return the place of an object."""
        return Key(kind, namespace_of(thing), name_of(thing))

    def create(self, kind: Kind, thing: Json) -> Json:
        """Store a new object with what every object gets."""
        made = self.born(thing)
        return self.storage.create(self.key(kind, made), made)

    def born(self, thing: Json) -> Json:
        """Return an object with the metadata that the server gives it."""
        self._made += 1
        made: Json = clone(thing)
        metadata = made["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + self._suffix()
        seed = f"{made['kind']}/{metadata.get('namespace', '')}/{metadata.get('name')}/{self._made}"
        metadata["uid"] = str(uuid.uuid5(uuid.NAMESPACE_URL, seed))
        metadata["creationTimestamp"] = self.text_now()
        if "spec" in made and made["kind"] not in {"Service", "Namespace"}:
            metadata["generation"] = 1
        return made

    def give_address(self, kind: Kind, thing: Json, before: Json | None = None) -> None:
        """Give a Service the address that it keeps for its life, unless it wants none."""
        spec = thing.get("spec") or {}
        if kind is SERVICE and not spec.get("clusterIP") and spec.get("type") != "ExternalName":
            self._addresses += before is None
            fresh = f"10.96.{self._addresses // 250}.{self._addresses % 250 + 1}"
            spec["clusterIP"] = fresh if before is None else before["spec"].get("clusterIP", fresh)
            spec["clusterIPs"] = [spec["clusterIP"]]

    def update(self, kind: Kind, thing: Json) -> Json:
        """Store a changed object; its generation grows when what it asks for has changed."""
        before = self.storage.get(self.key(kind, thing))
        if "generation" in before["metadata"] and before.get("spec") != thing.get("spec"):
            thing["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self.storage.update(self.key(kind, thing), thing)

    def delete(self, kind: Kind, thing: Json, grace: int | None = None) -> Json:
        """Remove an object at once, or begin to when it needs time (pods) or somebody must clean up (finalizers)."""
        key = self.key(kind, thing)
        current = self.storage.get(key)
        metadata = current["metadata"]
        if kind is POD and grace != 0 and current.get("spec", {}).get("nodeName"):
            waits = current["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        elif metadata.get("finalizers") or kind is NAMESPACE:
            waits = 0
        else:
            return self.storage.delete(key)
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = moment(self.wall() + waits)
            metadata["deletionGracePeriodSeconds"] = waits
            self.mark(metadata["uid"], "deleted")
            if kind is NAMESPACE:
                current["status"] = {"phase": "Terminating"}
            return self.storage.update(key, current)
        return current

    def elapsed(self) -> float:
        """Return the clock's monotonic seconds, for waits of clients."""
        return self._clock.monotonic()

    def settled(self, *, forced: bool = False) -> None:
        """Let the controllers act on what has just changed, and wake those who watch."""
        self._settle(at_once=forced)
        self.changed.notify_all()

    def _settle(self, *, at_once: bool = False) -> None:
        """Run the controllers until none changes anything."""
        if not at_once and self._settled == self.storage.revision:
            return
        for _ in range(MOST_ROUNDS):
            before = self.storage.revision
            self._due = min((controller.reconcile(self) for controller in self.controllers), default=NEVER)
            if self.storage.revision == before:
                break
        else:
            raise RuntimeError("the controllers of the cluster do not come to an end")
        self._settled = self.storage.revision
        self.changed.notify_all()

    def _suffix(self) -> str:
        digest = hashlib.sha256(str(self._made).encode()).digest()
        return "".join(SUFFIX[byte % len(SUFFIX)] for byte in digest[:5])
