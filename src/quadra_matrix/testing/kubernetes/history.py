"""What stood ready when: the proof that a rollout never had too few pods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from quadra_matrix.testing.kubernetes.kinds import POD, SERVICE
from quadra_matrix.testing.kubernetes.objects import dig, is_ready, labels_of, name_of, namespace_of
from quadra_matrix.testing.kubernetes.selectors import by_labels, has_labels
from quadra_matrix.testing.kubernetes.storage import Change


@dataclass(frozen=True, slots=True)
class ReadyPod:
    """A pod that could answer requests."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instant:
    """What stood ready from this moment to the next one."""

    at: float
    """The cluster's monotonic time in seconds."""
    pods: tuple[ReadyPod, ...]
    selectors: Mapping[tuple[str, str], Mapping[str, str]]
    """Namespace and name of each Service -> its selector."""

    def behind(self, service: str, namespace: str = "default") -> tuple[ReadyPod, ...]:
        """Return the ready pods that a Service sent requests to."""
        wanted = self.selectors.get((namespace, service))
        return tuple(pod for pod in self.pods if pod.namespace == namespace and has_labels(wanted, pod.labels))

    def matching(self, labels: str, namespace: str = "default") -> tuple[ReadyPod, ...]:
        """Return the ready pods that a label selector chooses, such as ``app=shop,track!=canary``."""
        chosen = by_labels(labels)
        return tuple(
            pod for pod in self.pods if pod.namespace == namespace and chosen({"metadata": {"labels": pod.labels}})
        )


@dataclass
class History:
    """Every change of what stood ready, in order; a change within the same moment has its own place."""

    time: Callable[[], float]
    instants: list[Instant] = field(default_factory=list)
    _pods: dict[tuple[str, str], ReadyPod] = field(default_factory=dict)
    _selectors: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    def fewest_behind(self, service: str, namespace: str = "default", *, since: float = float("-inf")) -> int:
        """Return the smallest number of ready pods that a Service had at any instant from ``since`` on."""
        return min((len(instant.behind(service, namespace)) for instant in self.from_(since)), default=0)

    def fewest_matching(self, labels: str, namespace: str = "default", *, since: float = float("-inf")) -> int:
        """Return the smallest number of ready pods that a label selector chose at any instant from ``since`` on."""
        return min((len(instant.matching(labels, namespace)) for instant in self.from_(since)), default=0)

    def from_(self, since: float) -> Sequence[Instant]:
        """Return the instants from ``since`` on, beginning with the one that held then."""
        later = next((place for place, instant in enumerate(self.instants) if instant.at >= since), len(self.instants))
        return self.instants[max(0, later - 1) :]

    def note(self, change: Change) -> None:
        """Add an instant when the change is one of pods that are ready or of where a Service sends requests."""
        key, thing = change.key, change.after
        place = (namespace_of(thing), name_of(thing))
        if key.kind is POD:
            images = tuple(container["image"] for container in thing["spec"]["containers"])
            ready = ReadyPod(*place, labels_of(thing), images) if is_ready(thing) else None
            changed = _put(self._pods, place, None if change.type == "DELETED" else ready)
        elif key.kind is SERVICE:
            changed = _put(
                self._selectors, place, None if change.type == "DELETED" else dig(thing, "spec", "selector", default={})
            )
        else:
            return
        if changed:
            self.instants.append(Instant(self.time(), _in_order(self._pods.values()), dict(self._selectors)))


def _in_order(pods: Iterable[ReadyPod]) -> tuple[ReadyPod, ...]:
    return tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name)))


K = TypeVar("K")
V = TypeVar("V")


def _put(known: dict[K, V], key: K, value: V | None) -> bool:
    """Set or remove an entry and tell whether that changed anything."""
    if known.get(key) == value:
        return False
    if value is None:
        del known[key]
    else:
        known[key] = value
    return True
