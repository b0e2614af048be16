"""Endpoints: the addresses of the ready pods behind each Service."""

from __future__ import annotations

from collections.abc import Sequence

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.kinds import ENDPOINTS, POD, SERVICE
from quadra_matrix.testing.kubernetes.objects import (
    Json,
    controlled_by,
    dig,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
)
from quadra_matrix.testing.kubernetes.selectors import has_labels
from quadra_matrix.testing.kubernetes.storage import Key


class EndpointsOfServices:
    """Keeps one Endpoints object for each Service that has a selector."""

    def reconcile(self, cluster: Cluster) -> float:
        """Write down who is behind each Service."""
        pods = cluster.storage.list(POD)
        for service in cluster.storage.list(SERVICE):
            selector = dig(service, "spec", "selector")
            if selector and not is_terminating(service):
                chosen = [
                    pod
                    for pod in pods
                    if namespace_of(pod) == namespace_of(service)
                    and has_labels(selector, labels_of(pod))
                    and dig(pod, "status", "podIP")
                    and not is_terminating(pod)
                ]
                self._write(cluster, service, chosen)
        return NEVER

    def _write(self, cluster: Cluster, service: Json, pods: Sequence[Json]) -> None:
        key = Key(ENDPOINTS, namespace_of(service), name_of(service))
        thing: Json = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "labels": labels_of(service),
                "ownerReferences": [controlled_by(service)],
            },
            "subsets": _subsets(service, pods),
        }
        found = cluster.storage.find(key)
        if found is None:
            cluster.create(ENDPOINTS, thing)
        elif found.get("subsets") != thing["subsets"]:
            cluster.update(ENDPOINTS, {**found, "subsets": thing["subsets"]})


def _subsets(service: Json, pods: Sequence[Json]) -> list[Json]:
    """Return the addresses and ports behind a Service."""
    if not pods:
        return []
    ports = [_port(port, pods[0]) for port in dig(service, "spec", "ports", default=[])]
    subset: Json = {"ports": ports}
    for name, ready in (("addresses", True), ("notReadyAddresses", False)):
        chosen = [_address(pod) for pod in pods if is_ready(pod) is ready]
        if chosen:
            subset[name] = chosen
    return [subset]


def _address(pod: Json) -> Json:
    target = {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": pod["metadata"]["uid"]}
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": target}


def _port(port: Json, pod: Json) -> Json:
    """Return a port of a Service as its pods have it: a name becomes the number that a container gives it."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        named = {
            each.get("name"): each["containerPort"]
            for container in pod["spec"]["containers"]
            for each in container.get("ports", [])
        }
        target = named.get(target, port["port"])
    given = {"port": target, "protocol": port.get("protocol", "TCP")}
    return given | ({"name": port["name"]} if port.get("name") else {})
