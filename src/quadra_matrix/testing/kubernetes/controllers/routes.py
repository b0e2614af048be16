"""The gateway: says of every HTTPRoute whether it is accepted and whether its back ends exist."""

from __future__ import annotations

from collections.abc import Iterator

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import GATEWAY_KIND, HTTP_ROUTE, SERVICE
from quadra_matrix.testing.kubernetes.objects import Json, dig, namespace_of
from quadra_matrix.testing.kubernetes.storage import Key

CONTROLLER = "quadra-matrix.example/fake-gateway"


class Routes:
    """Keeps the status of HTTPRoutes."""

    def reconcile(self, cluster: Cluster) -> float:
        """Write down what each parent says of each route."""
        for route in cluster.storage.list(HTTP_ROUTE):
            before = {str(each["parentRef"]): each for each in dig(route, "status", "parents", default=[])}
            parents = [
                self._parent(cluster, route, parent, before.get(str(parent), {}))
                for parent in dig(route, "spec", "parentRefs", default=[])
            ]
            cluster.update(HTTP_ROUTE, {**route, "status": {"parents": parents}})
        return NEVER

    def _parent(self, cluster: Cluster, route: Json, parent: Json, before: Json) -> Json:
        place = Key(GATEWAY_KIND, parent.get("namespace", namespace_of(route)), parent["name"])
        known = cluster.storage.find(place) is not None
        missing = next(_missing(cluster, route), None)
        generation = route["metadata"]["generation"]
        told = (
            ("Accepted", known, "Accepted" if known else "NoMatchingParent", ""),
            (
                "ResolvedRefs",
                missing is None,
                "ResolvedRefs" if missing is None else "BackendNotFound",
                "" if missing is None else f'Service "{missing}" not found',
            ),
        )
        conditions = []
        for name, holds, reason, message in told:
            old: Json = next((each for each in before.get("conditions", []) if each["type"] == name), {})
            since = old["lastTransitionTime"] if old.get("status") == str(holds) else cluster.text_now()
            said = {"type": name, "status": str(holds), "reason": reason, "message": message}
            conditions.append({**said, "observedGeneration": generation, "lastTransitionTime": since})
        return {"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions}


def _missing(cluster: Cluster, route: Json) -> Iterator[str]:
    """Yield the Services that a route sends requests to and that do not exist."""
    for rule in dig(route, "spec", "rules", default=[]):
        for backend in rule.get("backendRefs", []):
            where = backend.get("namespace", namespace_of(route))
            if backend.get("kind") == "Service" and cluster.storage.find(Key(SERVICE, where, backend["name"])) is None:
                yield backend["name"]
