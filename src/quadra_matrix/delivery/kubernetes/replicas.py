"""Traffic by the number of pods: stable and canary behind one Service, moved pod by pod and never below the floor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.board import Board, Change, asked_with
from quadra_matrix.delivery.kubernetes.pods import Floors, Pods, is_there, share, split, towards
from quadra_matrix.delivery.kubernetes.scaling import Scaling, kept_by_budgets
from quadra_matrix.delivery.kubernetes.slots import Before, Slot, Slots
from quadra_matrix.delivery.model import Route, Routed
from quadra_matrix.errors import TrafficChanged, TrafficRefused, TrafficUnknown


@dataclass(frozen=True, slots=True)
class Need:
    """What a route takes."""

    aim: Pods
    total: int
    floor: int


class ReplicaTraffic:
    """The ``Traffic`` of stable and canary behind one Service.

    A candidate that has no share runs without the label that the Service asks for. A write raises one side at once and
    lowers the other as far as ready pods replace it; it is complete when all are there.
    """

    def __init__(self, board: Board, scaling: Scaling) -> None:
        self._board, self._scaling = board, scaling
        self._mine: str | None = None

    def read(self) -> Routed:
        """Return the shares of the pods that are asked for."""
        slots = self._board.now()
        return Routed(route_of(slots, self._board.app.service), revision_of(slots))

    def write(self, route: Route, revision: str) -> Routed:
        """Bring the pods nearer to what a route takes."""
        slots = self._board.now()
        if revision_of(slots) != revision:
            raise TrafficChanged(revision, revision_of(slots))
        if (edited := self._mended(slots)) is not None:
            return Routed(route_of(edited, self._board.app.service), revision_of(edited), is_complete=False)
        self._require_known(slots, route)
        grown = self._grown(slots.first)
        need = need_of(slots, route, grown)
        floors = Floors(max(need.floor, kept_by_budgets(self._board.objects, *slots.both)))
        asked, ready = asked_of(slots), ready_of(slots)
        following = towards(need.aim, asked, ready, floors)
        complete = is_there(need.aim, asked, current_of(slots)) and not _leaves(slots.second, need.aim)
        stable = self._stable(slots.first, following.stable, grown, bump=complete or self._mine != revision)
        canary = self._canary(slots.second, following.canary, need.aim, ready)
        moved = Slots(stable, canary)
        self._mine = revision_of(moved)
        return Routed(route_of(moved, self._board.app.service), self._mine, complete)

    def open_requests(self, version: str) -> int:
        """Return the pods of a version that are ending: each may still have an answer to finish."""
        return sum(pod.is_ending and pod.version == version for pod in self._board.recent().pods)

    def _require_known(self, slots: Slots, route: Route) -> None:
        unknown = [version for version, share in route.weights.items() if share and not slots.holding(version)]
        if unknown:
            raise TrafficRefused(self._board.app.service, f"{unknown[0]} does not run here")

    def _mended(self, slots: Slots) -> Slots | None:
        """Put stable back when somebody gave it a version that is none of the rollout's."""
        stable, opened = slots.first, slots.first.opened
        if opened is None or stable.version in (opened.stable, opened.candidate):
            return None
        return replace(slots, first=self._board.change(stable, Change(image=opened.image, label=opened.label or "")))

    def _grown(self, stable: Slot) -> Before | None:
        """Return what is remembered, with the pods that an autoscaler added since we asked for some."""
        opened, asked = stable.opened, asked_with(stable.revision)
        if opened is None or asked is None or stable.replicas <= asked or self._scaling.find() is None:
            return opened
        return replace(opened, total=opened.total + stable.replicas - asked)

    def _stable(self, slot: Slot, replicas: int, grown: Before | None, *, bump: bool) -> Slot:
        """Change stable. This patch is the fence: whoever wrote since the revision was read makes it fail."""
        remembers = grown is not None and grown != slot.before
        if replicas == slot.replicas and not bump and not remembers:
            return slot
        change = Change(replicas, before=grown.text() if grown and remembers else None)
        if grown is None:
            return self._board.change(slot, change)
        if replicas < slot.replicas:  # else the autoscaler puts them back
            self._scaling.lead(replicas)
            return self._board.change(slot, change)
        changed = self._board.change(slot, change)  # first: what an autoscaler adds in between would count as growth
        self._scaling.lead(replicas)
        return changed

    def _canary(self, slot: Slot, replicas: int, aim: Pods, ready: Pods) -> Slot:
        """Change the canary: on its way in it gets the label first, on its way out it loses its pods first."""
        if aim.canary and not slot.is_live and slot.opened:
            return self._board.change(slot, Change(max(1, replicas), traffic=names.LIVE))
        if slot.is_live and replicas != slot.replicas:
            return self._board.change(slot, Change(replicas))
        if _leaves(slot, aim) and not slot.replicas and not ready.canary:
            return self._board.change(slot, Change(1, traffic=names.NONE))
        return slot


def need_of(slots: Slots, route: Route, remembered: Before | None) -> Need:
    """Return the pods that a route takes."""
    stable, canary = slots.both
    asked = asked_of(slots)
    total = remembered.total if remembered else asked.total
    floor = remembered.floor if remembered else ready_of(slots).total
    if stable.version == canary.version:
        return Need(asked, total, floor)
    if not route.share(canary.version):
        return Need(Pods(total, 0), total, floor)
    if stable.version not in route.weights:
        return Need(Pods(0, total), total, floor)
    return Need(split(max(2, total), route.share(canary.version)), total, floor)


def asked_of(slots: Slots) -> Pods:
    """Return the pods behind the Service that are asked for."""
    stable, canary = slots.both
    return Pods(stable.replicas if stable.is_live else 0, canary.replicas if canary.is_live else 0)


def ready_of(slots: Slots) -> Pods:
    """Return the ready pods behind the Service, of whatever version."""
    stable, canary = (sum(pod.is_live and pod.is_ready and not pod.is_ending for pod in one.pods) for one in slots.both)
    return Pods(stable, canary)


def current_of(slots: Slots) -> Pods:
    """Return the ready pods behind the Service that are what their Deployment asks for."""
    stable, canary = (one.ready if one.is_live else 0 for one in slots.both)
    return Pods(stable, canary)


def route_of(slots: Slots, service: str) -> Route:
    """Return the shares of the pods that are asked for. Raises ``TrafficUnknown`` where there are none."""
    stable, canary = slots.both
    asked = asked_of(slots)
    if not asked.total:
        raise TrafficUnknown(service, f"no pod with the label {names.TRAFFIC}={names.LIVE} is asked for")
    given = share(asked)
    if stable.version == canary.version or not given:
        return Route({stable.version if asked.stable else canary.version: 100.0})
    if given == 100:
        return Route({canary.version: 100.0})
    return Route({stable.version: round(100.0 - given, 2), canary.version: given})


def revision_of(slots: Slots) -> str:
    """Return the revision of both Deployments."""
    return "/".join(slot.state for slot in slots.both)


def _leaves(slot: Slot, aim: Pods) -> bool:
    """Tell whether the candidate has to go out of the Service."""
    return slot.is_live and not aim.canary
