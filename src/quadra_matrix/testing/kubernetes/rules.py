"""What the server refuses although the schema allows it (422): names, selectors that choose nothing, fixed fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from quadra_matrix.testing.kubernetes.kinds import RBAC, Kind
from quadra_matrix.testing.kubernetes.objects import Json, dig
from quadra_matrix.testing.kubernetes.problems import Cause
from quadra_matrix.testing.kubernetes.selectors import selected

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

Rule = Callable[[Json], Iterator[Cause]]
REQUIRED = "FieldValueRequired"


def broken_rules(thing: Json, kind: Kind, before: Json | None) -> list[Cause]:
    """Return every rule that an object breaks, as a new one or in place of ``before``."""
    found = list(_metadata(thing, kind))
    rule = RULES.get((kind.group, kind.name))
    if rule is not None:
        found.extend(rule(thing))
    if before is not None:
        found.extend(_fixed(thing, before, FIXED.get((kind.group, kind.name), ())))
    return found


def _metadata(thing: Json, kind: Kind) -> Iterator[Cause]:
    """Yield what is wrong with names and labels."""
    name = str(dig(thing, "metadata", "name", default=""))
    pattern = DNS_LABEL if kind.name == "Service" else SUBDOMAIN
    if kind.group != RBAC and (len(name) > 253 or not pattern.fullmatch(name)):
        rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        yield Cause("metadata.name", f'Invalid value: "{name}": {rule}')
    yield from _labels("metadata.labels", dig(thing, "metadata", "labels", default={}))


def _labels(path: str, labels: Json) -> Iterator[Cause]:
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            yield Cause(path, f'Invalid value: "{key}": name part must consist of alphanumeric characters')
        if len(value) > 63 or not LABEL_VALUE.fullmatch(value):
            yield Cause(path, f'Invalid value: "{value}": a valid label is at most 63 alphanumeric characters')


def _workload(thing: Json) -> Iterator[Cause]:
    """Yield what is wrong with a Deployment or a ReplicaSet."""
    spec = thing["spec"]
    yield from _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    template = dig(spec, "template", default={})
    labels = dig(template, "metadata", "labels", default={})
    selector = spec.get("selector")
    if selector is not None and not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield Cause("spec.selector", "Invalid value: {}: empty selector is invalid for deployment")
    elif selector is not None and not selected(selector, labels):
        yield Cause(
            "spec.template.metadata.labels", f"Invalid value: {labels}: `selector` does not match template `labels`"
        )
    if dig(template, "spec", "restartPolicy", default="Always") != "Always":
        given = template["spec"]["restartPolicy"]
        yield Cause(
            "spec.template.spec.restartPolicy",
            f'Unsupported value: "{given}": supported values: "Always"',
            "FieldValueNotSupported",
        )
    surge, unavailable = (_amount(spec, name) for name in ("maxSurge", "maxUnavailable"))
    if dig(spec, "strategy", "type") == "RollingUpdate" and surge == unavailable == 0:
        where = "spec.strategy.rollingUpdate.maxUnavailable"
        yield Cause(where, "Invalid value: 0: may not be 0 when `maxSurge` is 0")
    yield from _template(template)


def _amount(spec: Json, name: str) -> int:
    """Return the number in a strategy's amount, which may be a share."""
    return int(str(dig(spec, "strategy", "rollingUpdate", name, default=1)).rstrip("%") or 0)


def _job(thing: Json) -> Iterator[Cause]:
    yield from _not_negative(thing["spec"], "parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished")
    template = dig(thing, "spec", "template", default={})
    given = dig(template, "spec", "restartPolicy")
    if given not in {"Never", "OnFailure"}:
        yield Cause(
            "spec.template.spec.restartPolicy",
            f'Required value: valid values: "OnFailure", "Never"; got "{given}"',
            REQUIRED,
        )
    yield from _template(template)


def _template(template: Json) -> Iterator[Cause]:
    yield from _labels("spec.template.labels", dig(template, "metadata", "labels", default={}))
    yield from _pod_spec("spec.template.spec", template.get("spec") or {})


def _pod(thing: Json) -> Iterator[Cause]:
    yield from _pod_spec("spec", thing["spec"])


def _pod_spec(path: str, spec: Json) -> Iterator[Cause]:
    """Yield what is wrong with the containers and volumes of a pod."""
    containers = dig(spec, "containers", default=[])
    if not containers:
        yield Cause(f"{path}.containers", "Required value", REQUIRED)
    names = [container.get("name") for container in containers]
    volumes = {volume.get("name") for volume in dig(spec, "volumes", default=[])}
    for place, container in enumerate(containers):
        where = f"{path}.containers[{place}]"
        name = str(container.get("name", ""))
        if not container.get("image"):
            yield Cause(f"{where}.image", "Required value", REQUIRED)
        if name in names[:place]:
            yield Cause(f"{where}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
        elif len(name) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
            yield Cause(f"{where}.name", f'Invalid value: "{name}": a lowercase RFC 1123 label is needed')
        for mount_place, mount in enumerate(dig(container, "volumeMounts", default=[])):
            if mount.get("name") not in volumes:
                given = f'Not found: "{mount.get("name")}"'
                yield Cause(f"{where}.volumeMounts[{mount_place}].name", given, "FieldValueNotFound")
        for port_place, port in enumerate(dig(container, "ports", default=[])):
            if not _is_port(port.get("containerPort")):
                given = f"Invalid value: {port.get('containerPort')}: must be between 1 and 65535, inclusive"
                yield Cause(f"{where}.ports[{port_place}].containerPort", given)


def _service(thing: Json) -> Iterator[Cause]:
    spec = thing["spec"]
    ports = dig(spec, "ports", default=[])
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield Cause("spec.ports", "Required value", REQUIRED)
    for place, port in enumerate(ports):
        if not _is_port(port.get("port")):
            given = f"Invalid value: {port.get('port')}: must be between 1 and 65535, inclusive"
            yield Cause(f"spec.ports[{place}].port", given)
        if len(ports) > 1 and not port.get("name"):
            yield Cause(f"spec.ports[{place}].name", "Required value", REQUIRED)


def _autoscaler(thing: Json) -> Iterator[Cause]:
    least, most = dig(thing, "spec", "minReplicas", default=1), dig(thing, "spec", "maxReplicas", default=0)
    if most < max(least, 1):
        yield Cause("spec.maxReplicas", f"Invalid value: {most}: must be greater than or equal to `minReplicas`")


def _budget(thing: Json) -> Iterator[Cause]:
    if thing["spec"].get("minAvailable") is not None and thing["spec"].get("maxUnavailable") is not None:
        yield Cause("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set")


def _lease(thing: Json) -> Iterator[Cause]:
    seconds = dig(thing, "spec", "leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield Cause("spec.leaseDurationSeconds", f"Invalid value: {seconds}: must be greater than 0")


def _is_port(given: Any) -> bool:
    return isinstance(given, int) and 1 <= given <= 65535


def _not_negative(spec: Json, *names: str) -> Iterator[Cause]:
    for name in names:
        if (value := spec.get(name)) is not None and value < 0:
            yield Cause(f"spec.{name}", f"Invalid value: {value}: must be greater than or equal to 0")


def _fixed(thing: Json, before: Json, paths: tuple[str, ...]) -> Iterator[Cause]:
    for path in paths:
        if dig(thing, *path.split(".")) != dig(before, *path.split(".")):
            yield Cause(path, "Invalid value: field is immutable")


RULES: dict[tuple[str, str], Rule] = {
    ("apps", "Deployment"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("policy", "PodDisruptionBudget"): _budget,
    ("coordination.k8s.io", "Lease"): _lease,
}
"""Group and kind -> what yields the rules that such an object breaks."""

FIXED: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("batch", "Job"): ("spec.selector", "spec.template", "spec.completions"),
    (RBAC, "RoleBinding"): ("roleRef",),
    (RBAC, "ClusterRoleBinding"): ("roleRef",),
}
"""Group and kind -> paths that no change may touch."""
