"""Deployments: one ReplicaSet for each template, and the rolling change from one to the next."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.controllers.rollouts import report
from quadra_matrix.testing.kubernetes.kinds import DEPLOYMENT, POD, REPLICA_SET
from quadra_matrix.testing.kubernetes.objects import (
    Json,
    clone,
    controlled_by,
    controller_of,
    dig,
    is_terminating,
    name_of,
)

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
NOT_COPIED = {REVISION, DESIRED, "kubectl.kubernetes.io/last-applied-configuration"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How many pods there may be and must be during a change."""

    most: int
    fewest: int

    @classmethod
    def of(cls, deployment: Json) -> Limits:
        """Return the limits of a Deployment. Shares of surge are rounded up, of unavailability down."""
        wanted = deployment["spec"]["replicas"]
        rolling = dig(deployment, "spec", "strategy", "rollingUpdate", default={})
        surge = _pods(rolling.get("maxSurge", 0), wanted, up=True)
        unavailable = _pods(rolling.get("maxUnavailable", 0), wanted, up=False)
        if surge == unavailable == 0:
            unavailable = 1
        return cls(wanted + surge, wanted - min(unavailable, wanted))


class Deployments:
    """Rolls Deployments out."""

    def reconcile(self, cluster: Cluster) -> float:
        """Move every Deployment on by what may be done now."""
        sets = cluster.storage.list(REPLICA_SET)
        due = NEVER
        for deployment in cluster.storage.list(DEPLOYMENT):
            if not is_terminating(deployment):
                uid = deployment["metadata"]["uid"]
                own = [each for each in sets if controller_of(each) == uid and not is_terminating(each)]
                due = min(due, self._move(cluster, deployment, own))
        return due

    def _move(self, cluster: Cluster, deployment: Json, own: Sequence[Json]) -> float:
        new = _with_template(deployment, own)
        paused = deployment["spec"].get("paused", False)
        if not paused:
            new = _newest(cluster, deployment, own, new)
            deployment = cluster.storage.get(cluster.key(DEPLOYMENT, deployment))
        old = [each for each in own if new is None or name_of(each) != name_of(new)]
        everything = [*old, *([new] if new else [])]
        if _resized(cluster, deployment, everything, new) or paused or new is None:
            pass
        elif dig(deployment, "spec", "strategy", "type") == "Recreate":
            _recreate(cluster, deployment, old, new)
        else:
            _roll(cluster, deployment, old, new)
        _forget(cluster, deployment, old)
        return report(cluster, deployment, None if new is None else name_of(new))


def _with_template(deployment: Json, own: Sequence[Json]) -> Json | None:
    """Return the ReplicaSet that has the Deployment's template."""
    wanted = deployment["spec"]["template"]
    return next((each for each in own if _plain(each["spec"]["template"]) == wanted), None)


def _plain(template: Json) -> Json:
    """Return a ReplicaSet's template as its Deployment has it."""
    plain: Json = clone(template)
    plain["metadata"]["labels"].pop(HASH, None)
    return plain


def _newest(cluster: Cluster, deployment: Json, own: Sequence[Json], new: Json | None) -> Json:
    """Return the ReplicaSet of the template, made where there is none, with the highest revision."""
    others = [_revision(each) for each in own if new is None or name_of(each) != name_of(new)]
    number = max(others, default=0) + 1
    if new is not None:
        number = max(number, _revision(new))
    copied = {
        key: value
        for key, value in dig(deployment, "metadata", "annotations", default={}).items()
        if key not in NOT_COPIED
    }
    annotations = {**copied, REVISION: str(number)}
    if new is None:
        made = _replica_set(deployment)
        made["metadata"]["annotations"] = {**annotations, DESIRED: str(deployment["spec"]["replicas"])}
        new = cluster.create(REPLICA_SET, made)
    else:
        kept = dig(new, "metadata", "annotations", default={})
        new = cluster.update(REPLICA_SET, {**new, "metadata": {**new["metadata"], "annotations": kept | annotations}})
    if dig(deployment, "metadata", "annotations", REVISION) != str(number):
        deployment["metadata"].setdefault("annotations", {})[REVISION] = str(number)
        cluster.update(DEPLOYMENT, deployment)
    return new


def _replica_set(deployment: Json) -> Json:
    """Return a new ReplicaSet with the Deployment's template."""
    template = clone(deployment["spec"]["template"])
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
    template["metadata"].setdefault("labels", {})[HASH] = digest
    selector = clone(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH] = digest
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": [controlled_by(deployment)],
        },
        "spec": {
            "replicas": 0,
            "selector": selector,
            "template": template,
            "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
        },
        "status": {"replicas": 0},
    }


def _revision(replica_set: Json) -> int:
    return int(dig(replica_set, "metadata", "annotations", REVISION, default="0"))


def _resized(cluster: Cluster, deployment: Json, sets: Sequence[Json], new: Json | None) -> bool:
    """Follow a change of the number of replicas, and tell whether there was one.

    In the middle of a rollout every ReplicaSet keeps its share.
    """
    wanted = deployment["spec"]["replicas"]
    active = [each for each in sets if each["spec"]["replicas"] > 0]
    stale = [each for each in active if dig(each, "metadata", "annotations", DESIRED) != str(wanted)]
    if not stale:
        return False
    total = sum(each["spec"]["replicas"] for each in active)
    goal = wanted if len(active) == 1 or wanted == 0 else Limits.of(deployment).most
    shares = {name_of(each): each["spec"]["replicas"] * goal // total for each in active}
    largest = max(active, key=lambda each: (each["spec"]["replicas"], each is new))
    shares[name_of(largest)] += goal - sum(shares.values())
    for each in active:
        _scale(cluster, deployment, each, shares[name_of(each)])
    return True


def _recreate(cluster: Cluster, deployment: Json, old: Sequence[Json], new: Json) -> None:
    """Stop everything old, then start everything new."""
    for each in old:
        _scale(cluster, deployment, each, 0)
    uids = {each["metadata"]["uid"] for each in old}
    if not any(controller_of(pod) in uids for pod in cluster.storage.list(POD)):
        _scale(cluster, deployment, new, deployment["spec"]["replicas"])


def _roll(cluster: Cluster, deployment: Json, old: Sequence[Json], new: Json) -> None:
    """Scale the new ReplicaSet up as far as the surge allows, then the old ones down as far as enough pods stay."""
    wanted, limits = deployment["spec"]["replicas"], Limits.of(deployment)
    total = sum(each["spec"]["replicas"] for each in (*old, new))
    size = new["spec"]["replicas"]
    if size > wanted:
        size = wanted
    elif total < limits.most:
        size += min(limits.most - total, wanted - size)
    _scale(cluster, deployment, new, size)
    unavailable = max(0, size - _available(new))
    spare = size + sum(each["spec"]["replicas"] for each in old) - limits.fewest - unavailable
    sizes = {name_of(each): each["spec"]["replicas"] for each in old}
    for each in sorted(old, key=_revision):  # first those that do not work anyway
        useless = min(max(0, each["spec"]["replicas"] - _available(each)), max(0, spare))
        sizes[name_of(each)] -= useless
        spare -= useless
    spare = min(spare, sum(_available(each) for each in (*old, new)) - limits.fewest)
    for each in sorted(old, key=_revision):
        fewer = min(sizes[name_of(each)], max(0, spare))
        sizes[name_of(each)] -= fewer
        spare -= fewer
        _scale(cluster, deployment, each, sizes[name_of(each)])


def _available(replica_set: Json) -> int:
    return int(dig(replica_set, "status", "availableReplicas", default=0))


def _scale(cluster: Cluster, deployment: Json, replica_set: Json, size: int) -> None:
    current = cluster.storage.get(cluster.key(REPLICA_SET, replica_set))
    current["spec"]["replicas"] = size
    current["metadata"].setdefault("annotations", {})[DESIRED] = str(deployment["spec"]["replicas"])
    cluster.update(REPLICA_SET, current)


def _forget(cluster: Cluster, deployment: Json, old: Sequence[Json]) -> None:
    """Delete the oldest ReplicaSets beyond the history that is kept."""
    idle = [
        each
        for each in sorted(old, key=_revision)
        if each["spec"]["replicas"] == 0 and not dig(each, "status", "replicas", default=0)
    ]
    kept = deployment["spec"].get("revisionHistoryLimit", 10)
    for each in idle[: max(0, len(idle) - kept)]:
        current = cluster.storage.find(cluster.key(REPLICA_SET, each))
        if current is not None and current["spec"]["replicas"] == 0:
            cluster.delete(REPLICA_SET, each)


def _pods(amount: int | str, of: int, *, up: bool) -> int:
    """Return an amount in pods; a share is one of ``of``."""
    if isinstance(amount, int):
        return amount
    share = of * int(amount.rstrip("%")) / 100
    return math.ceil(share) if up else math.floor(share)
