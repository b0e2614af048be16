"""A rollout that runs in the cluster, as a Job with the deployer's ServiceAccount: it outlives the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.cluster import Cluster, Resource
from quadra_matrix.delivery.kubernetes.names import Names
from quadra_matrix.delivery.kubernetes.patches import Json
from quadra_matrix.delivery.kubernetes.slots import serving
from quadra_matrix.delivery.model import Kind
from quadra_matrix.delivery.place import Place
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.planfile import as_document

KEPT = 24 * 3600
"""Seconds that a Job that ended stays, for its log."""
PLAN_FILE = "plan.json"


def submit(cluster: Cluster, kind: Kind, version: str, plan: Plan, options: Sequence[str], now: float) -> str:
    """Create the Job and what it reads, and return its name."""
    app = Names(plan.place.name)
    track = names.STABLE if kind is Kind.CANARY else "blue"
    runs = cluster.get(Resource.DEPLOYMENT, app.slot(track))["spec"]["template"]["spec"]
    container = runs["containers"][serving(runs)]
    name = f"{app.app}-{kind}-{int(now)}"
    body = job(name, container["image"], words(kind, version, plan.place, cluster.namespace, options), app)
    made = cluster.put(Resource.JOB, body)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made["metadata"]["uid"]}
    document = {PLAN_FILE: json.dumps(as_document(plan))}
    metadata = {"name": name, "labels": labels(app), "ownerReferences": [owner]}
    # After the Job, which owns it: the pod waits for the volume, and both go away together.
    cluster.put(Resource.CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": document})
    return name


def words(kind: Kind, version: str, place: Place, namespace: str, options: Sequence[str]) -> list[str]:
    """Return the command of the Job."""
    command = {Kind.CANARY: "canary", Kind.BLUE_GREEN: "bluegreen"}[kind]
    where = ["--platform", "kubernetes", "--namespace", namespace, "--name", place.name, "--split", str(place.split)]
    return ["quadra", command, "deploy", version, *where, "--plan", f"/plan/{PLAN_FILE}", *options]


def labels(app: Names) -> dict[str, str]:
    """Return the labels of everything about a rollout in the cluster."""
    return {names.APP: f"{app.app}-deployer", names.MANAGED_BY: names.OURS}


def job(name: str, image: str, command: Sequence[str], app: Names) -> Json:
    """Return the Job: once, never again. A rollout that was cut off is for a person to resume or roll back."""
    container = {
        "name": "rollout",
        "image": image,
        "command": list(command),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "plan", "mountPath": "/plan", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own
        ],
    }
    pod = {
        "serviceAccountName": f"{app.app}-deployer",
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "plan", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels(app)},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels(app)}, "spec": pod},
        },
    }
