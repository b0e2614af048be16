"""Horizontal pod autoscalers: as many pods as the load needs, between two bounds, down only after a while."""

from __future__ import annotations

import math
from collections import deque

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import AUTOSCALER, DEPLOYMENT, POD, REPLICA_SET
from quadra_matrix.testing.kubernetes.objects import Json, dig, is_ready, labels_of, name_of, namespace_of
from quadra_matrix.testing.kubernetes.selectors import selected
from quadra_matrix.testing.kubernetes.storage import Key

PERIOD = 15.0
"""Seconds between two looks."""
WINDOW = 300
"""Seconds for which the highest recommendation holds, unless the object says otherwise."""
TOLERANCE = 0.1
"""Share by which the load may be off before anything is done."""
TARGETS = {"Deployment": DEPLOYMENT, "ReplicaSet": REPLICA_SET}


class Autoscalers:
    """Scales what HorizontalPodAutoscalers point at. Without a known load they only keep to their bounds."""

    def __init__(self) -> None:
        self._next = -math.inf
        self._recommended: dict[str, deque[tuple[float, int]]] = {}

    def reconcile(self, cluster: Cluster) -> float:
        """Look at every autoscaler when it is time to."""
        autoscalers = cluster.storage.list(AUTOSCALER)
        if not autoscalers:
            return NEVER
        if cluster.now >= self._next:
            self._next = cluster.now + PERIOD
            for autoscaler in autoscalers:
                self._look(cluster, autoscaler)
        return self._next

    def _look(self, cluster: Cluster, autoscaler: Json) -> None:
        spec = autoscaler["spec"]
        kind = TARGETS.get(spec["scaleTargetRef"]["kind"])
        place = None if kind is None else Key(kind, namespace_of(autoscaler), spec["scaleTargetRef"]["name"])
        target = None if place is None else cluster.storage.find(place)
        if target is None or place is None:
            return
        current = target["spec"]["replicas"]
        wanted = current if current == 0 else self._wanted(cluster, autoscaler, target)
        if wanted != current:
            cluster.update(place.kind, {**target, "spec": {**target["spec"], "replicas": wanted}})
            autoscaler["status"]["lastScaleTime"] = cluster.text_now()
        counts = {"currentReplicas": current, "desiredReplicas": wanted}
        cluster.update(AUTOSCALER, {**autoscaler, "status": {**autoscaler["status"], **counts}})

    def _wanted(self, cluster: Cluster, autoscaler: Json, target: Json) -> int:
        """Return how many replicas there should be. Down goes only to the most that the window recommended."""
        spec, current = autoscaler["spec"], int(target["spec"]["replicas"])
        load = cluster.loads.get((namespace_of(autoscaler), name_of(autoscaler)))
        advice = current if load is None else _advice(cluster, target, load)
        advice = min(max(advice, int(spec["minReplicas"])), int(spec["maxReplicas"]))
        if load is None:
            return advice
        window = dig(spec, "behavior", "scaleDown", "stabilizationWindowSeconds", default=WINDOW)
        past = self._recommended.setdefault(autoscaler["metadata"]["uid"], deque())
        past.append((cluster.now, advice))
        while past[0][0] < cluster.now - window:
            past.popleft()
        return advice if advice >= current else min(current, max(number for _, number in past))


def _advice(cluster: Cluster, target: Json, load: float) -> int:
    """Return how many replicas a load needs, by the load of those that are ready."""
    chosen, current = target["spec"]["selector"], int(target["spec"]["replicas"])
    pods = cluster.storage.list(POD, namespace_of(target))
    ready = sum(is_ready(pod) and selected(chosen, labels_of(pod)) for pod in pods)
    ratio = load / ready if ready else 1.0
    return current if abs(ratio - 1.0) <= TOLERANCE else math.ceil(current * ratio)
