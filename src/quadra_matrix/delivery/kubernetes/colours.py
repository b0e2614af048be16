"""Blue and green: two Deployments, and one Service whose selector is changed by one patch."""

from __future__ import annotations

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.board import Board, Change, before_of, new_revision
from quadra_matrix.delivery.kubernetes.cluster import Resource
from quadra_matrix.delivery.kubernetes.patches import Json, fence, put, swap
from quadra_matrix.delivery.kubernetes.slots import Slot, Slots, image_of
from quadra_matrix.delivery.kubernetes.workload import Address, back_to, readiness
from quadra_matrix.delivery.model import Readiness, Route, Routed
from quadra_matrix.delivery.moves import only
from quadra_matrix.delivery.place import VERSION_IN_IMAGE
from quadra_matrix.errors import (
    ObjectRefused,
    RolloutRefused,
    StartRefused,
    TrafficChanged,
    TrafficRefused,
    TrafficUnknown,
)


class ColourTraffic:
    """The ``Traffic`` of the Service in front of the active colour."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def read(self) -> Routed:
        """Return the version that the selector means."""
        service = self.service()
        return Routed(only(self.active(self._board.now(), service).version), revision_of(service))

    def write(self, route: Route, revision: str) -> Routed:
        """Change the selector, by one patch, once the new colour has all its pods."""
        slots, service = self._board.now(), self.service()
        if revision_of(service) != revision:
            raise TrafficChanged(revision, revision_of(service))
        active = self.active(slots, service)
        version = next((name for name, share in route.weights.items() if share == 100), None)
        if version is None:
            raise TrafficRefused(self._board.app.production, "a selector sends everything to one colour")
        slot = active if active.version == version else next(iter(slots.holding(version)), None)
        if slot is None:
            raise TrafficRefused(self._board.app.production, f"{version} does not run here")
        if not slot.ready:
            raise TrafficRefused(self._board.app.production, f"{slot.track} has no ready pod")
        if slot is not active and slot.ready < slot.replicas:
            return Routed(only(active.version), revision, is_complete=False)
        patched = self._board.objects.patch(
            Resource.SERVICE, self._board.app.production, operations(service, slot.track, slot.replicas)
        )
        return Routed(only(version), revision_of(patched))

    def open_requests(self, version: str) -> int:
        """Return the pods of a version that are ending: each may still have an answer to finish."""
        return sum(pod.is_ending and pod.version == version for pod in self._board.recent().pods)

    def service(self) -> Json:
        """Return the Service in front of the active colour."""
        return self._board.objects.get(Resource.SERVICE, self._board.app.production)

    def active(self, slots: Slots, service: Json) -> Slot:
        """Return the Deployment that the selector means. Raises ``TrafficUnknown`` for any other selector."""
        selector = service["spec"].get("selector") or {}
        wanted = {names.APP: self._board.app.app, names.COLOUR: selector.get(names.COLOUR)}
        found = next((slot for slot in slots.both if slot.track == selector.get(names.COLOUR)), None)
        if found is None or selector != wanted:
            raise TrafficUnknown(self._board.app.production, f"its selector is {selector}")
        return found


class ColourWorkload:
    """The ``Workload`` of a blue and a green Deployment."""

    def __init__(self, board: Board, traffic: ColourTraffic, address: Address, image: str | None = None) -> None:
        self._board, self._traffic, self._address, self._image = board, traffic, address, image

    def start(self, version: str) -> None:
        """Start a version in the colour without traffic, with as many pods as the other one has."""
        slots = self._board.now()
        active = self._traffic.active(slots, self._traffic.service())
        idle = next(slot for slot in slots.both if slot is not active)
        try:
            self._start(version, active, idle)
        except ObjectRefused as refused:
            raise StartRefused(version, refused.reason) from refused

    def ready(self, version: str) -> Readiness:
        """Return how many pods answer; of the active colour, when both run the version."""
        slots = self._board.recent()
        holding = slots.holding(version)
        if len(holding) > 1:
            holding = (self._traffic.active(slots, self._traffic.service()),)
        return readiness(holding, self._address)

    def settle(self, version: str) -> bool:
        """Do nothing: no colour is more than the other."""
        return True

    def stop(self, version: str) -> bool:
        """Put a colour without traffic back to what it was; the one of before a switch loses its pods."""
        slots = self._board.now()
        active = self._traffic.active(slots, self._traffic.service())
        if active.version == version:
            raise RolloutRefused(f"{version} still gets traffic")
        for slot in slots.holding(version):
            before = slot.opened
            if before is not None and before.candidate == version:
                self._board.change(slot, back_to(before, before.replicas, ""))
            elif slot.replicas:
                self._board.change(slot, Change(0))
        return True

    def _start(self, version: str, active: Slot, idle: Slot) -> None:
        if active.version == version:
            return
        wanted = active.replicas or 1
        if idle.version == version:
            if idle.replicas < wanted:
                self._board.change(idle, Change(wanted))
            return
        image = (self._image or image_of(active.image, version)).replace(VERSION_IN_IMAGE, f":{version}")
        before = before_of(idle, active.version, version, total=active.replicas, floor=active.ready)
        self._board.change(idle, Change(wanted, image, version, before=before.text()))


def operations(service: Json, colour: str, pods: int) -> list[Json]:
    """Return the patch that changes the selector if it and the revision are still those that were read."""
    found = fence(service["metadata"], names.REVISION)
    found += swap(service["spec"]["selector"][names.COLOUR], colour, "spec", "selector", names.COLOUR)
    return [*found, put(new_revision(pods), "metadata", "annotations", names.REVISION)]


def revision_of(service: Json) -> str:
    """Return the revision of a Service's selector."""
    metadata = service["metadata"]
    found: str = (metadata.get("annotations") or {}).get(names.REVISION) or metadata["resourceVersion"]
    return found
