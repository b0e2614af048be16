"""Tables: what ``kubectl get`` prints, made by the server as the real one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from quadra_matrix.testing.kubernetes.kinds import Kind
from quadra_matrix.testing.kubernetes.objects import Json, condition, dig, is_terminating, name_of
from quadra_matrix.testing.kubernetes.requests import Request

Cell = str | int
Column = tuple[str, Callable[[Json], Cell]]


@dataclass(frozen=True, slots=True)
class Tables:
    """Draws tables for one request."""

    kind: Kind
    wall: float
    """The time now, in seconds since the epoch."""
    include: str = "Metadata"
    """``Metadata``, ``Object`` or ``None``: what stands beside the cells of a row."""

    @classmethod
    def asked_for(cls, request: Request, kind: Kind, wall: float) -> Tables | None:
        """Return what draws the tables that a request accepts; None when it wants objects."""
        if "as=Table" not in request.headers.get("accept", ""):
            return None
        return cls(kind, wall, request.query.get("includeObject", "Metadata"))

    def table(self, found: Json) -> Json:
        """Return the table of a list or of one object."""
        things = found.get("items", [found])
        columns = (("Name", name_of), *COLUMNS.get((self.kind.group, self.kind.name), ()), ("Age", self._age))
        revision = {"resourceVersion": found["metadata"]["resourceVersion"]}
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {**revision, **{k: v for k, v in found["metadata"].items() if k == "continue"}},
            "columnDefinitions": [_definition(name) for name, _ in columns],
            "rows": [self._row(thing, columns) for thing in things],
        }

    def _row(self, thing: Json, columns: Sequence[Column]) -> Json:
        row: Json = {"cells": [cell(thing) for _, cell in columns]}
        if self.include == "Object":
            row["object"] = thing
        elif self.include == "Metadata":
            named = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            row["object"] = {**named, "metadata": thing["metadata"]}
        return row

    def _age(self, thing: Json) -> str:
        made = datetime.fromisoformat(thing["metadata"]["creationTimestamp"]).timestamp()
        return span(max(0.0, self.wall - made))


def span(seconds: float) -> str:
    """Return a duration as kubectl writes it: ``42s``, ``5m``, ``3h``, ``2d``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def _definition(name: str) -> Json:
    return {
        "name": name,
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": 0,
    }


def _ready_containers(pod: Json) -> str:
    statuses = dig(pod, "status", "containerStatuses", default=[])
    return f"{sum(status['ready'] for status in statuses)}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Json) -> str:
    if is_terminating(pod):
        return "Terminating"
    statuses = dig(pod, "status", "containerStatuses", default=[])
    waiting: list[str | None] = [dig(status, "state", "waiting", "reason") for status in statuses]
    phase: str = dig(pod, "status", "phase", default="Pending")
    return next(filter(None, waiting), {"Succeeded": "Completed", "Failed": "Error"}.get(phase, phase))


def _restarts(pod: Json) -> int:
    return sum(status["restartCount"] for status in dig(pod, "status", "containerStatuses", default=[]))


def _count(*path: str) -> Callable[[Json], Cell]:
    def counted(thing: Json) -> Cell:
        found: int = dig(thing, *path, default=0)
        return found

    return counted


def _text(*path: str) -> Callable[[Json], Cell]:
    return lambda thing: str(dig(thing, *path, default="<none>"))


def _ready_of_wanted(thing: Json) -> str:
    return f"{dig(thing, 'status', 'readyReplicas', default=0)}/{thing['spec']['replicas']}"


def _ports(service: Json) -> str:
    return (
        ",".join(f"{port['port']}/{port['protocol']}" for port in dig(service, "spec", "ports", default=[])) or "<none>"
    )


def _completions(job: Json) -> str:
    return f"{dig(job, 'status', 'succeeded', default=0)}/{dig(job, 'spec', 'completions', default=1)}"


def _job_status(job: Json) -> str:
    done = [name for name in ("Complete", "Failed") if condition(job, name).get("status") == "True"]
    return done[0] if done else "Running"


def _reference(autoscaler: Json) -> str:
    target = autoscaler["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "Pod"): (("Ready", _ready_containers), ("Status", _pod_status), ("Restarts", _restarts)),
    ("", "Service"): (("Type", _text("spec", "type")), ("Cluster-IP", _text("spec", "clusterIP")), ("Port(s)", _ports)),
    ("", "Namespace"): (("Status", _text("status", "phase")),),
    ("", "ConfigMap"): (("Data", lambda thing: len(thing.get("data") or {})),),
    ("apps", "Deployment"): (
        ("Ready", _ready_of_wanted),
        ("Up-to-date", _count("status", "updatedReplicas")),
        ("Available", _count("status", "availableReplicas")),
    ),
    ("apps", "ReplicaSet"): (
        ("Desired", _count("spec", "replicas")),
        ("Current", _count("status", "replicas")),
        ("Ready", _count("status", "readyReplicas")),
    ),
    ("batch", "Job"): (("Status", _job_status), ("Completions", _completions)),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        ("Reference", _reference),
        ("MinPods", _count("spec", "minReplicas")),
        ("MaxPods", _count("spec", "maxReplicas")),
        ("Replicas", _count("status", "currentReplicas")),
    ),
    ("policy", "PodDisruptionBudget"): (
        ("Min available", _text("spec", "minAvailable")),
        ("Max unavailable", _text("spec", "maxUnavailable")),
        ("Allowed disruptions", _count("status", "disruptionsAllowed")),
    ),
    ("coordination.k8s.io", "Lease"): (("Holder", _text("spec", "holderIdentity")),),
    ("gateway.networking.k8s.io", "HTTPRoute"): (
        ("Hostnames", lambda thing: ",".join(dig(thing, "spec", "hostnames", default=[]))),
    ),
}
"""Group and kind -> what is shown between the name and the age."""
