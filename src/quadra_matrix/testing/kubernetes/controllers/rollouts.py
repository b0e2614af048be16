"""How far a Deployment is: the counts and conditions that ``rollout status`` and ``wait`` read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import DEPLOYMENT, REPLICA_SET
from quadra_matrix.testing.kubernetes.objects import Json, condition, controller_of, dig, name_of


def report(cluster: Cluster, deployment: Json, newest: str | None) -> float:
    """Write the status of a Deployment, and return when its deadline for progress is over."""
    current = cluster.storage.get(cluster.key(DEPLOYMENT, deployment))
    uid = current["metadata"]["uid"]
    own = [each for each in cluster.storage.list(REPLICA_SET) if controller_of(each) == uid]
    counts = _counts(current, newest, {name_of(each): each for each in own})
    if _moved(cluster, current, counts, newest):
        cluster.marks[uid, "progress"] = cluster.now
    complete = _is_complete(current, counts)
    deadline = cluster.mark(uid, "progress") + current["spec"].get("progressDeadlineSeconds", 600)
    late = deadline <= cluster.now
    failures = [condition(each, "ReplicaFailure") for each in own if condition(each, "ReplicaFailure")]
    status: Json = {name: count for name, count in counts.items() if count}
    status["observedGeneration"] = current["metadata"]["generation"]
    status["conditions"] = [
        _available(cluster, current, counts["availableReplicas"]),
        _progressing(cluster, current, newest, complete=complete, late=late),
        *failures[:1],
    ]
    cluster.update(DEPLOYMENT, {**current, "status": status})
    return NEVER if complete or late or current["spec"].get("paused") else deadline


def _counts(deployment: Json, newest: str | None, own: Mapping[str, Json]) -> dict[str, int]:
    """Return the counts of a Deployment's status."""

    def total(name: str) -> int:
        return sum(dig(each, "status", name, default=0) for each in own.values())

    available = total("availableReplicas")
    return {
        "replicas": total("replicas"),
        "updatedReplicas": dig(own.get(newest or ""), "status", "replicas", default=0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(each["spec"]["replicas"] for each in own.values()) - available),
    }


def _moved(cluster: Cluster, deployment: Json, counts: Mapping[str, int], newest: str | None) -> bool:
    """Tell whether the rollout came on since the last look: another template, more new pods, fewer old ones."""
    before: dict[str, int] = dig(deployment, "status", default={})
    asked = (deployment["metadata"]["uid"], f"template {newest}")
    is_new = asked not in cluster.marks
    cluster.marks.setdefault(asked, cluster.now)
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return is_new or any(counts[name] > before.get(name, 0) for name in grown) or _old(counts) < _old(before)


def _old(counts: Mapping[str, int]) -> int:
    return counts.get("replicas", 0) - counts.get("updatedReplicas", 0)


def _is_complete(deployment: Json, counts: Mapping[str, int]) -> bool:
    wanted: int = deployment["spec"]["replicas"]
    return counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted


def _available(cluster: Cluster, deployment: Json, available: int) -> Json:
    wanted = deployment["spec"]["replicas"]
    amount = dig(deployment, "spec", "strategy", "rollingUpdate", "maxUnavailable", default=0)
    spared = amount if isinstance(amount, int) else math.floor(wanted * int(amount.rstrip("%")) / 100)
    enough = available >= wanted - spared
    reason, message = (
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    return _condition(cluster, deployment, "Available", str(enough), reason, message)


def _progressing(cluster: Cluster, deployment: Json, newest: str | None, *, complete: bool, late: bool) -> Json:
    if complete:
        told = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{newest}" has successfully progressed.')
    elif deployment["spec"].get("paused"):
        told = ("Unknown", "DeploymentPaused", "Deployment is paused")
    elif late:
        told = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{newest}" has timed out progressing.')
    else:
        told = ("True", "ReplicaSetUpdated", f'ReplicaSet "{newest}" is progressing.')
    return _condition(cluster, deployment, "Progressing", *told)


def _condition(cluster: Cluster, deployment: Json, name: str, status: str, reason: str, message: str) -> Json:
    """Return a condition; its times stay as long as it says the same."""
    before, now = condition(deployment, name), cluster.text_now()
    same = (before.get("status"), before.get("reason")) == (status, reason)
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == status else now,
        "lastUpdateTime": before["lastUpdateTime"] if same else now,
    }
