"""What the server fills in where a client says nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quadra_matrix.testing.kubernetes.kinds import Kind
from quadra_matrix.testing.kubernetes.objects import Json, dig

PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def fill(thing: Json, kind: Kind) -> None:
    """Fill in the defaults of an object's kind."""
    filler = FILLERS.get((kind.group, kind.name))
    if filler is not None and isinstance(thing.get("spec"), dict):
        filler(thing["spec"])


def _set(thing: Json, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if thing.get(key) is None:
            thing[key] = value


def _deployment(spec: Json) -> None:
    _set(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = spec.setdefault("strategy", {})
    _set(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(spec)


def _replica_set(spec: Json) -> None:
    _set(spec, {"replicas": 1})
    _template(spec)


def _job(spec: Json) -> None:
    _set(spec, {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed"})
    _set(spec, {"suspend": False, "manualSelector": False, "podReplacementPolicy": "TerminatingOrFailed"})
    _template(spec)


def select_own_pods(job: Json) -> None:
    """Let a new Job choose its pods by its uid, and let its template carry that."""
    labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
    job["spec"]["selector"] = {"matchLabels": labels}
    metadata = job["spec"]["template"]["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}


def _template(spec: Json) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            _pod(template["spec"])


def _pod(spec: Json) -> None:
    _set(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    if spec.get("serviceAccountName"):
        _set(spec, {"serviceAccount": spec["serviceAccountName"]})
    for container in [*dig(spec, "containers", default=[]), *dig(spec, "initContainers", default=[])]:
        _container(container)


def _container(container: Json) -> None:
    tag = str(container.get("image", "")).rpartition("/")[2].partition(":")[2]
    _set(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always" if tag in {"", "latest"} else "IfNotPresent",
        },
    )
    for port in dig(container, "ports", default=[]):
        _set(port, {"protocol": "TCP"})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _set(container[name], PROBE)
            if isinstance(container[name].get("httpGet"), dict):
                _set(container[name]["httpGet"], {"path": "/", "scheme": "HTTP"})


def _service(spec: Json) -> None:
    _set(spec, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
    for port in dig(spec, "ports", default=[]):
        _set(port, {"protocol": "TCP", "targetPort": port.get("port")})


def _autoscaler(spec: Json) -> None:
    _set(spec, {"minReplicas": 1})


def _route(spec: Json) -> None:
    for parent in dig(spec, "parentRefs", default=[]):
        _set(parent, {"group": "gateway.networking.k8s.io", "kind": "Gateway"})
    _set(spec, {"rules": [{}]})
    for rule in spec["rules"]:
        _set(rule, {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]})
        for backend in dig(rule, "backendRefs", default=[]):
            _set(backend, {"group": "", "kind": "Service", "weight": 1})


FILLERS: dict[tuple[str, str], Callable[[Json], None]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("gateway.networking.k8s.io", "HTTPRoute"): _route,
}
"""Group and kind -> what fills in the ``spec`` of such an object."""
