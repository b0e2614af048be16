"""Traffic by the weights of a Gateway API HTTPRoute: stable keeps all its pods, the canary grows before its weight."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from uuid import uuid4

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.board import Board, Change
from quadra_matrix.delivery.kubernetes.cluster import Resource
from quadra_matrix.delivery.kubernetes.patches import Json, fence, put, swap
from quadra_matrix.delivery.kubernetes.slots import Slots
from quadra_matrix.delivery.model import Route, Routed
from quadra_matrix.errors import TrafficChanged, TrafficRefused, TrafficUnknown


class GatewayTraffic:
    """The ``Traffic`` of an HTTPRoute in front of the Services of stable and canary."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._mine: str | None = None

    def read(self) -> Routed:
        """Return the shares that the weights mean."""
        return self._routed(self._board.now(), self._route())

    def write(self, route: Route, revision: str) -> Routed:
        """Give the canary the pods that its share takes; then change all weights by one patch."""
        slots, body = self._board.now(), self._route()
        found = self._routed(slots, body)
        if found.revision != revision:
            raise TrafficChanged(revision, found.revision)
        stable, canary = slots.both
        unknown = [version for version, share in route.weights.items() if share and not slots.holding(version)]
        if unknown:
            raise TrafficRefused(self._board.app.route, f"{unknown[0]} does not run here")
        share = 0.0 if canary.version == stable.version else route.share(canary.version)
        total = stable.opened.total if stable.opened else stable.replicas
        needed = ceil(total * share / 100.0)
        if canary.replicas < needed:
            self._board.change(canary, Change(needed))
        if canary.ready < needed:
            return Routed(found.route, revision, is_complete=False)
        if canary.version == stable.version:
            return self._patched(slots, body, *weights_of(body, self._board.app.app))
        weights = (round(100.0 - share, 2), share)
        written = self._patched(slots, body, *weights)
        if 0 < needed < canary.replicas:  # a smaller share by hand: fewer pods, after their weight
            self._board.change(canary, Change(needed))
        return written

    def open_requests(self, version: str) -> int:
        """Return the pods of a version that are ending: each may still have an answer to finish."""
        return sum(pod.is_ending and pod.version == version for pod in self._board.recent().pods)

    def hand_over(self) -> None:
        """Send everything to stable's Service: it runs what the canary's runs."""
        body = self._route()
        if weights_of(body, self._board.app.app)[1]:
            self._patched(self._board.now(), body, 100.0, 0.0)

    def _patched(self, slots: Slots, body: Json, stable: float, canary: float) -> Routed:
        patch = operations(body, self._board.app.app, stable, canary)
        return self._routed(slots, self._board.objects.patch(Resource.ROUTE, self._board.app.route, patch))

    def _route(self) -> Json:
        return self._board.objects.get(Resource.ROUTE, self._board.app.route)

    def _routed(self, slots: Slots, body: Json) -> Routed:
        stable, canary = weights_of(body, self._board.app.app)
        if not stable + canary:
            raise TrafficUnknown(self._board.app.route, "all its weights are 0")
        share = round(100.0 * canary / (stable + canary), 2)
        first, second = (slot.version for slot in slots.both)
        if first == second or share in (0, 100):
            return Routed(Route({second if share == 100 else first: 100.0}), revision_of(body))
        return Routed(Route({first: round(100.0 - share, 2), second: share}), revision_of(body))


def pairs(body: Json, app: str) -> Iterator[tuple[int, int, int]]:
    """Yield the rules that have both back ends: place of the rule, of stable's and of the canary's."""
    wanted = names.Names(app)
    for rule, one in enumerate(body["spec"].get("rules") or []):
        places = {
            ref["name"]: place
            for place, ref in enumerate(one.get("backendRefs") or [])
            if ref.get("kind", "Service") == "Service" and "namespace" not in ref
        }
        stable, canary = places.get(wanted.slot(names.STABLE)), places.get(wanted.slot(names.CANARY))
        if stable is not None and canary is not None:
            yield rule, stable, canary


def weights_of(body: Json, app: str) -> tuple[float, float]:
    """Return the weights of stable and canary. Raises ``TrafficUnknown`` where no rule has both, or rules differ."""
    rules = body["spec"].get("rules") or []
    found = {
        tuple(rules[rule]["backendRefs"][place].get("weight", 1) for place in places)
        for rule, *places in pairs(body, app)
    }
    name = body["metadata"]["name"]
    if not found:
        # A single back end gets everything, whatever its weight.
        raise TrafficUnknown(name, f"no rule has both back ends, {app}-{names.STABLE} and {app}-{names.CANARY}")
    if len(found) > 1:
        raise TrafficUnknown(name, f"its rules have different weights: {sorted(found)}")
    stable, canary = found.pop()
    return float(stable), float(canary)


def operations(body: Json, app: str, stable: float, canary: float) -> list[Json]:
    """Return the patch that changes the weights if they and the revision are still those that were read."""
    found = fence(body["metadata"], names.REVISION)
    for rule, *both in pairs(body, app):
        for ref, percent in zip(both, (stable, canary), strict=True):
            where = ("spec", "rules", rule, "backendRefs", ref, "weight")
            had = body["spec"]["rules"][rule]["backendRefs"][ref].get("weight")
            weight = _weight(percent, stable, canary)
            found += [put(weight, *where)] if had is None else swap(had, weight, *where)
    return [*found, put(uuid4().hex[:12], "metadata", "annotations", names.REVISION)]


def revision_of(body: Json) -> str:
    """Return the revision of a route."""
    metadata = body["metadata"]
    found: str = (metadata.get("annotations") or {}).get(names.REVISION) or metadata["resourceVersion"]
    return found


def _weight(percent: float, *all_of_them: float) -> int:
    """Return a share as a weight: percents, or hundredths of them where a share needs that."""
    return round(percent * (1 if all(one == int(one) for one in all_of_them) else 100))
