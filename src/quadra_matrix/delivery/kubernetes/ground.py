"""A cluster as the ground of a site."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.bluegreen import COLOURS
from quadra_matrix.delivery.fleet import Command
from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.board import Board
from quadra_matrix.delivery.kubernetes.cluster import Cluster, Objects, Resource
from quadra_matrix.delivery.kubernetes.colours import ColourTraffic, ColourWorkload
from quadra_matrix.delivery.kubernetes.evidence import PodChecks, evidence_of
from quadra_matrix.delivery.kubernetes.gateway import GatewayTraffic, weights_of
from quadra_matrix.delivery.kubernetes.names import Names
from quadra_matrix.delivery.kubernetes.replicas import ReplicaTraffic
from quadra_matrix.delivery.kubernetes.scaling import Scaling, kept_by_budgets
from quadra_matrix.delivery.kubernetes.slots import Slots
from quadra_matrix.delivery.kubernetes.state import ClusterState
from quadra_matrix.delivery.kubernetes.workload import Address, CanaryWorkload
from quadra_matrix.delivery.model import Kind
from quadra_matrix.delivery.outside import World
from quadra_matrix.delivery.place import Place, Split
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.ports import Traffic, Workload
from quadra_matrix.delivery.site import Ground
from quadra_matrix.errors import InvalidValue, RolloutRefused

GLANCE = 1.0
"""Seconds between two looks while pods start: the API server belongs to others too."""


def ground(
    place: Place,
    kind: Kind,
    cluster: Cluster,
    *,
    clock: Clock = SYSTEM_CLOCK,
    objects: Objects | None = None,
    anew: bool = False,
) -> Ground:
    """Return a service on a cluster; ``objects`` stand in for those of the cluster.

    Without ``anew`` the traffic is split as the last rollout splits it, whatever ``place`` says.
    """
    app, found = Names(place.name), objects or cluster
    state = ClusterState(found, app.record(kind), {names.APP: place.name})
    last = state.read().record.rollout
    place = place if anew or last is None else last.plan.place
    key, tracks = (names.TRACK, (names.STABLE, names.CANARY)) if kind is Kind.CANARY else (names.COLOUR, COLOURS)
    board = Board(found, app, key, tracks, clock)
    traffic, workload = _canary(board, place, cluster.pod_address)
    made = Ground(
        traffic=traffic,
        workload=workload,
        state=state,
        outside=World(clock, PodChecks(cluster)),
        evidence=lambda plan: evidence_of(plan, cluster, made.workload.ready),
        declare=lambda plan, version, command: require_able(board, kind, plan, command),
        glance=GLANCE,
    )
    if kind is Kind.BLUE_GREEN:
        colour = ColourTraffic(board)
        one = ColourWorkload(board, colour, cluster.pod_address, place.image)
        made = replace(made, traffic=colour, workload=one, colours=lambda record: colours_of(board, colour))
    return made


def _canary(board: Board, place: Place, address: Address) -> tuple[Traffic, Workload]:
    """Return how stable and canary share the traffic, and how they run."""
    scaling = Scaling(board.objects, board.app.slot(names.STABLE))
    if place.split is Split.REPLICAS:
        return ReplicaTraffic(board, scaling), CanaryWorkload(board, scaling, address, image=place.image)
    gateway = GatewayTraffic(board)
    return gateway, CanaryWorkload(board, scaling, address, image=place.image, gateway=gateway)


def colours_of(board: Board, traffic: ColourTraffic) -> dict[str, str]:
    """Return colour -> version, the active one first."""
    slots = board.now()
    active = traffic.active(slots, traffic.service())
    return {slot.track: slot.version for slot in (active, *slots.both)}


def require_able(board: Board, kind: Kind, plan: Plan, command: Command | None) -> None:
    """Raise before anything is touched where a rollout could not do what it promises."""
    if command is not None:
        raise InvalidValue("command", " ".join(command.words), "left out: a cluster runs images; name one with --image")
    if plan.mirror or plan.sticky_cookie or plan.sticky_header:
        raise RolloutRefused("mirror and sticky users need the proxy of one machine; leave them out of the plan")
    slots = board.now()
    for slot in slots.both:
        if slot.is_paused:
            raise RolloutRefused(f"{slot.name} is paused; run: kubectl rollout resume deployment/{slot.name}")
        if not slot.surges:
            rule = "strategy RollingUpdate with maxUnavailable 0"
            raise RolloutRefused(f"Deployment {slot.name} may end pods before new ones are ready; give it {rule}")
    if kind is Kind.CANARY:
        _require_split(board, plan.place.split, slots)


def _require_split(board: Board, split: Split, slots: Slots) -> None:
    """Raise where the traffic cannot be split as asked."""
    if split is Split.GATEWAY:
        for track in (names.STABLE, names.CANARY):  # a back end that is missing answers 500 for its share
            board.objects.get(Resource.SERVICE, board.app.slot(track))
        if weights_of(board.objects.get(Resource.ROUTE, board.app.route), board.app.app)[1]:
            raise RolloutRefused(f"{board.app.route} sends requests to the canary already; give it weight 0")
        return
    selector = board.objects.get(Resource.SERVICE, board.app.service)["spec"].get("selector") or {}
    wanted = {names.APP: board.app.app, names.TRAFFIC: names.LIVE}
    if selector != wanted:
        shown = ",".join(f"{key}={value}" for key, value in wanted.items())
        raise RolloutRefused(f"Service {board.app.service} selects {selector}; a canary by replicas needs {shown}")
    kept_by_budgets(board.objects, *slots.both)
