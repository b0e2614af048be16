"""The Scale of a workload: its number of replicas under an address of its own."""

from __future__ import annotations

from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json, clone, dig, name_of
from quadra_matrix.testing.kubernetes.problems import Cause, bad_request, invalid


def scale_of(workload: Json) -> Json:
    """Return the Scale of a Deployment or ReplicaSet."""
    metadata = workload["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = dig(workload, "spec", "selector", "matchLabels", default={})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept},
        "spec": {"replicas": workload["spec"]["replicas"]},
        "status": {
            "replicas": dig(workload, "status", "replicas", default=0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def scaled(workload: Json, scale: Any) -> Json:
    """Return the workload with the number of replicas of a Scale. Raises a 400 or a 422."""
    if not isinstance(scale, dict) or scale.get("kind", "Scale") != "Scale":
        raise bad_request("the object is no Scale")
    replicas = dig(scale, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("json: cannot unmarshal into field spec.replicas of type int32")
    if replicas < 0:
        told = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("Scale", "autoscaling", name_of(workload), [Cause("spec.replicas", told)])
    changed: Json = clone(workload)
    changed["spec"]["replicas"] = replicas
    given = dig(scale, "metadata", "resourceVersion")
    if given:
        changed["metadata"]["resourceVersion"] = given
    return changed
