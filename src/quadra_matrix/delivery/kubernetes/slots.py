"""The two Deployments that take turns, read as values: which version each holds, its pods, what was before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from json import JSONDecodeError, dumps, loads

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.patches import Json
from quadra_matrix.errors import RolloutRefused


@dataclass(frozen=True, slots=True)
class Before:
    """What a rollout found in a Deployment and puts back when it goes back."""

    stable: str
    candidate: str
    """The versions of the rollout."""
    replicas: int
    image: str
    label: str | None
    """The pods' label ``version``."""
    traffic: str | None
    """The pods' label ``traffic``."""
    total: int
    """Pods that served before the rollout, of both Deployments; autoscaling raises it."""
    floor: int
    """Ready ones among these."""
    is_open: bool = True
    """False once the rollout is over: it can still be rolled back from this."""

    def text(self) -> str:
        """Return it as an annotation."""
        return dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod."""

    name: str
    slot: str
    """The value of the label that tells its Deployment."""
    version: str
    is_live: bool
    """Whether it carries the label that the Service of a canary asks for."""
    is_ready: bool
    is_ending: bool
    restarts: int
    port: int
    trouble: str
    """Why it does not answer, as the platform says."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One Deployment and its pods."""

    name: str
    """The Deployment's."""
    track: str
    """stable, canary, blue or green."""
    version: str
    image: str
    label: str | None
    traffic: str | None
    replicas: int
    container: int
    """Place of the container that is the version, in the pod's list."""
    revision: str | None
    before_text: str | None
    metadata: Json
    """Of the Deployment, as it was read."""
    labels: dict[str, str]
    """Those of its pods to come."""
    surges: bool
    """Whether an update starts a new pod before it ends an old one."""
    is_paused: bool
    trouble: str
    pods: tuple[Pod, ...] = ()

    @property
    def state(self) -> str:
        """The revision; before our first change that of the whole object."""
        return self.revision or str(self.metadata["resourceVersion"])

    @property
    def before(self) -> Before | None:
        """What was there before the rollout that is under way, or before the last one."""
        if self.before_text is None:
            return None
        try:
            return Before(**loads(self.before_text))
        except (JSONDecodeError, TypeError) as broken:
            what = f"annotation {names.BEFORE} of {self.name}"
            raise RolloutRefused(f"{what} cannot be read; remove it and put the Deployment back by hand") from broken

    @property
    def opened(self) -> Before | None:
        """What was there before the rollout that is under way."""
        before = self.before
        return before if before is not None and before.is_open else None

    @property
    def is_live(self) -> bool:
        """Whether its pods carry the label that the Service of a canary asks for."""
        return self.traffic == names.LIVE

    def current(self) -> tuple[Pod, ...]:
        """Return its pods that are as it asks for: of its version and its label."""
        wanted = (self.version, self.is_live, False)
        return tuple(pod for pod in self.pods if (pod.version, pod.is_live, pod.is_ending) == wanted)

    @property
    def ready(self) -> int:
        """Its current pods that answer."""
        return sum(pod.is_ready for pod in self.current())


@dataclass(frozen=True, slots=True)
class Slots:
    """Both Deployments at one instant."""

    first: Slot
    """stable, or blue."""
    second: Slot
    """canary, or green."""

    @property
    def both(self) -> tuple[Slot, Slot]:
        """The two."""
        return self.first, self.second

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods of both."""
        return self.first.pods + self.second.pods

    def holding(self, version: str) -> tuple[Slot, ...]:
        """Return those that hold a version."""
        return tuple(slot for slot in self.both if slot.version == version)

    def live(self, version: str) -> int:
        """Return the ready pods behind the Service that run a version, wherever they are."""
        return sum(pod.is_ready and pod.is_live and not pod.is_ending and pod.version == version for pod in self.pods)


def slot_of(deployment: Json, key: str, pods: Iterable[Json]) -> Slot:
    """Return a Deployment and its pods as values; ``key`` is the label that tells the two apart."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    labels = dict(template["metadata"].get("labels") or {})
    container = serving(template["spec"])
    image = template["spec"]["containers"][container]["image"]
    annotations = metadata.get("annotations") or {}
    track = labels.get(key, "")
    return Slot(
        name=metadata["name"],
        track=track,
        version=version_of(image, labels.get(names.VERSION)),
        image=image,
        label=labels.get(names.VERSION),
        traffic=labels.get(names.TRAFFIC),
        replicas=spec.get("replicas", 1),
        container=container,
        revision=annotations.get(names.REVISION),
        before_text=annotations.get(names.BEFORE),
        metadata=metadata,
        labels=labels,
        surges=_surges(spec),
        is_paused=bool(spec.get("paused")),
        trouble=_failure(deployment),
        pods=tuple(pod_of(pod, key) for pod in pods if (pod["metadata"].get("labels") or {}).get(key) == track),
    )


def pod_of(pod: Json, key: str) -> Pod:
    """Return a pod as a value."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    statuses = status.get("containerStatuses") or []
    container = spec["containers"][serving(spec)]
    return Pod(
        name=metadata["name"],
        slot=labels.get(key, ""),
        version=version_of(container["image"], labels.get(names.VERSION)),
        is_live=labels.get(names.TRAFFIC) == names.LIVE,
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_ending="deletionTimestamp" in metadata,
        restarts=sum(one.get("restartCount", 0) for one in statuses),
        port=port_of(container),
        trouble=_trouble(conditions, statuses),
    )


def serving(pod: Json) -> int:
    """Return the place of the container that answers requests: the one with a port named http, else the first."""
    for place, container in enumerate(pod["containers"]):
        if any(port.get("name") == names.PORT for port in container.get("ports") or []):
            return place
    return 0


def port_of(container: Json) -> int:
    """Return the port that gets requests: the one named http, else the first, else 80."""
    ports = container.get("ports") or [{"containerPort": 80}]
    return int(next((one for one in ports if one.get("name") == names.PORT), ports[0])["containerPort"])


def version_of(image: str, label: str | None) -> str:
    """Return the version in an image: its tag, else the pods' label.

    >>> version_of("registry:5000/shop:1.2@sha256:ab", None)
    '1.2'
    >>> version_of("registry:5000/shop", "7")
    '7'
    """
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag or label or "latest"


def image_of(image: str, version: str) -> str:
    """Return the image with another tag.

    >>> image_of("registry:5000/shop:1.2@sha256:ab", "1.3")
    'registry:5000/shop:1.3'
    """
    where, slash, name = image.partition("@")[0].rpartition("/")
    return f"{where}{slash}{name.partition(':')[0]}:{version}"


def _surges(spec: Json) -> bool:
    strategy = spec.get("strategy") or {}
    unavailable = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    return strategy.get("type", "RollingUpdate") == "RollingUpdate" and unavailable in (0, "0%")


def _failure(deployment: Json) -> str:
    """Return why a Deployment lacks pods: a quota, for one."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return next((one.get("message", "") for one in conditions if one["type"] == "ReplicaFailure"), "")


def _trouble(conditions: Json, statuses: Iterable[Json]) -> str:
    """Return why a pod does not answer."""
    for one in statuses:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return str(waiting["reason"])
    scheduled = conditions.get("PodScheduled", {})
    return str(scheduled.get("message", "")) if scheduled.get("status") == "False" else ""
