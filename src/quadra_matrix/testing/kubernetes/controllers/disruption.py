"""Disruption budgets: how many pods may be evicted now, and eviction itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import DISRUPTION_BUDGET, POD
from quadra_matrix.testing.kubernetes.objects import Json, is_ready, labels_of, name_of, namespace_of
from quadra_matrix.testing.kubernetes.problems import too_many
from quadra_matrix.testing.kubernetes.selectors import selected

RETRY_AFTER = 10


class DisruptionBudgets:
    """Counts for every PodDisruptionBudget."""

    def reconcile(self, cluster: Cluster) -> float:
        """Write down how many disruptions each budget allows."""
        for budget in cluster.storage.list(DISRUPTION_BUDGET):
            pods = _pods(cluster, budget)
            healthy = sum(is_ready(pod) for pod in pods)
            needed = _needed(budget["spec"], len(pods))
            status = {
                "currentHealthy": healthy,
                "desiredHealthy": needed,
                "expectedPods": len(pods),
                "disruptionsAllowed": max(0, healthy - needed),
                "observedGeneration": budget["metadata"]["generation"],
            }
            cluster.update(DISRUPTION_BUDGET, {**budget, "status": status})
        return NEVER


def evict(cluster: Cluster, pod: Json, grace: int | None) -> None:
    """Delete a pod if every budget allows it. Raises a 429 that names the one which does not."""
    for budget in cluster.storage.list(DISRUPTION_BUDGET, namespace_of(pod)):
        if selected(budget["spec"].get("selector"), labels_of(pod)) and is_ready(pod):
            status = budget.get("status", {})
            if status.get("disruptionsAllowed", 0) <= 0:
                told = (
                    f"The disruption budget {name_of(budget)} needs {status.get('desiredHealthy', 0)} healthy pods "
                    f"and has {status.get('currentHealthy', 0)} currently"
                )
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise too_many(message, {"reason": "DisruptionBudget", "message": told}, RETRY_AFTER)
    cluster.delete(POD, pod, grace)


def _pods(cluster: Cluster, budget: Json) -> Sequence[Json]:
    selector = budget["spec"].get("selector")
    return [pod for pod in cluster.storage.list(POD, namespace_of(budget)) if selected(selector, labels_of(pod))]


def _needed(spec: Json, total: int) -> int:
    """Return how many pods must stay healthy; a share is rounded up."""
    if (least := spec.get("minAvailable")) is not None:
        return least if isinstance(least, int) else math.ceil(total * int(least.rstrip("%")) / 100)
    away = spec.get("maxUnavailable", 1)
    return max(0, total - (away if isinstance(away, int) else math.ceil(total * int(away.rstrip("%")) / 100)))
