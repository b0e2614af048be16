"""Garbage collection: what a vanished owner or namespace leaves behind goes too."""

from __future__ import annotations

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import NAMESPACE
from quadra_matrix.testing.kubernetes.objects import dig, is_terminating, name_of


class Collector:
    """Deletes objects whose owners are gone, and ends namespaces."""

    def reconcile(self, cluster: Cluster) -> float:
        """Delete what nobody owns any more."""
        self._end_namespaces(cluster)
        things = [(key, cluster.storage.get(key)) for key in cluster.storage.places()]
        alive = {thing["metadata"]["uid"] for _, thing in things}
        for key, thing in things:
            owners = dig(thing, "metadata", "ownerReferences", default=[])
            if owners and not is_terminating(thing) and not any(owner["uid"] in alive for owner in owners):
                cluster.delete(key.kind, thing)
        for key, thing in things:
            metadata = thing["metadata"]
            gone = is_terminating(thing) and metadata.get("deletionGracePeriodSeconds") == 0
            if gone and not metadata.get("finalizers") and key.kind is not NAMESPACE and cluster.storage.find(key):
                cluster.storage.delete(key)
        return NEVER

    def _end_namespaces(self, cluster: Cluster) -> None:
        """Empty the namespaces that were deleted, and remove the empty ones."""
        for namespace in cluster.storage.list(NAMESPACE):
            if not is_terminating(namespace):
                continue
            inside = [key for key in cluster.storage.places() if key.namespace == name_of(namespace)]
            for key in inside:
                cluster.delete(key.kind, cluster.storage.get(key), grace=0)
            if not any(key.namespace == name_of(namespace) for key in cluster.storage.places()):
                cluster.storage.delete(cluster.key(NAMESPACE, namespace))
