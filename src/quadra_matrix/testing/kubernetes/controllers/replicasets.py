"""ReplicaSets: as many pods of a template as asked for."""

from __future__ import annotations

from collections.abc import Sequence

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import POD, REPLICA_SET
from quadra_matrix.testing.kubernetes.objects import (
    Json,
    clone,
    condition,
    controlled_by,
    controller_of,
    dig,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
)
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.quota import check_quota

COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSets:
    """Creates and deletes pods until their number is right, and counts the ready ones."""

    def reconcile(self, cluster: Cluster) -> float:
        """Bring every ReplicaSet's pods to the number asked for."""
        pods = cluster.storage.list(POD)
        due = NEVER
        for owner in cluster.storage.list(REPLICA_SET):
            if is_terminating(owner):
                continue
            own = [pod for pod in pods if controller_of(pod) == owner["metadata"]["uid"] and is_active(pod)]
            refused = self._scale(cluster, owner, own)
            due = min(due, self._report(cluster, owner, own, refused))
        return due

    def _scale(self, cluster: Cluster, owner: Json, pods: Sequence[Json]) -> Refused | None:
        """Create or delete pods, and return why none can be created."""
        missing = owner["spec"]["replicas"] - len(pods)
        for pod in sorted(pods, key=lambda pod: _worth(cluster, pod))[: max(0, -missing)]:
            cluster.delete(POD, pod)
        for _ in range(missing):
            try:
                check_quota(cluster.storage, POD, owner["metadata"]["namespace"])
            except Refused as refused:
                return refused
            cluster.create(POD, pod_of(owner, owner["spec"]["template"]))
        return None

    def _report(self, cluster: Cluster, owner: Json, pods: Sequence[Json], refused: Refused | None) -> float:
        """Write the counts into the status, and return when a ready pod becomes an available one."""
        steady = owner["spec"].get("minReadySeconds", 0)
        since = [cluster.mark(pod["metadata"]["uid"], "ready") + steady for pod in pods if is_ready(pod)]
        labels = dig(owner, "spec", "template", "metadata", "labels", default={})
        counts = {
            "fullyLabeledReplicas": sum(labels.items() <= labels_of(pod).items() for pod in pods),
            "readyReplicas": len(since),
            "availableReplicas": sum(at <= cluster.now for at in since),
        }
        status: Json = {"replicas": len(pods), "observedGeneration": owner["metadata"].get("generation", 1)}
        status |= {name: count for name, count in counts.items() if count}
        if refused is not None:
            told = condition(owner, "ReplicaFailure") or {"lastTransitionTime": cluster.text_now()}
            told |= {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused.message}
            status["conditions"] = [told]
        cluster.update(REPLICA_SET, {**owner, "status": status})
        return min((at for at in since if at > cluster.now), default=NEVER)


def pod_of(owner: Json, template: Json) -> Json:
    """Return a new pod of a template."""
    metadata = clone(template.get("metadata") or {})
    metadata |= {
        "generateName": f"{name_of(owner)}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [controlled_by(owner)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": clone(template["spec"]),
        "status": {"phase": "Pending"},
    }


def is_active(pod: Json) -> bool:
    """Tell whether a pod counts: it neither ended nor is about to."""
    return not is_terminating(pod) and dig(pod, "status", "phase") not in {"Succeeded", "Failed"}


def _worth(cluster: Cluster, pod: Json) -> tuple[object, ...]:
    """Return what to sort pods by, the first to be deleted first: unscheduled, unready, cheap, young."""
    return (
        bool(dig(pod, "spec", "nodeName")),
        is_ready(pod),
        int(dig(pod, "metadata", "annotations", COST, default="0")),
        -cluster.marks.get((pod["metadata"]["uid"], "ready"), NEVER),
        name_of(pod),
    )
