"""What the engine needs from a platform: four small doors. A driver implements them; the engine names none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from quadra_matrix.delivery.counters import Reading
from quadra_matrix.delivery.model import Readiness, Record, Rollout, Route, Routed
from quadra_matrix.delivery.plan import Check, StepHook


class Traffic(Protocol):
    """Who gets which share of the requests."""

    def read(self) -> Routed:
        """Return the route in force, as the traffic layer itself reports it. Raises ``TrafficUnknown``."""

    def write(self, route: Route, revision: str) -> Routed:
        """Put a route in force if the revision is still the one that was read, and return what is then reported.

        The revision changes with every write, also of an equal route, so that a write decided before another one fails.
        Raises ``TrafficChanged`` when it is not, ``TrafficRefused`` when the traffic layer refuses the route. Where a
        route takes instances that are not there yet, a write brings it nearer and says that it is not complete.
        """

    def open_requests(self, version: str) -> int:
        """Return how many requests a version is answering."""


class Workload(Protocol):
    """Where versions run. Every method may be repeated safely."""

    def start(self, version: str) -> None:
        """Start a version, or what is missing of it; do not wait. Raises ``StartRefused``."""

    def ready(self, version: str) -> Readiness:
        """Return how many instances answer; zeros for a version that was never started."""

    def settle(self, version: str) -> bool:
        """Make a version the stable one, where the platform makes a difference; do not wait.

        Tells whether that is done, with the full capacity, or has to be repeated.
        """

    def stop(self, version: str) -> bool:
        """Stop a version and free what it used; tell whether that is done, or has to be repeated."""


class Evidence(Protocol):
    """What happened to requests."""

    def read(self, version: str) -> Reading:
        """Return the raw counters of every instance of a version. Raises ``EvidenceMissing``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the revision that a change must name."""

    record: Record
    revision: str


class State(Protocol):
    """Where the record lives."""

    def read(self) -> Stored:
        """Return the record; an empty one where nothing was ever stored. Raises ``StateUnreadable``."""

    def swap(self, record: Record, revision: str) -> Stored:
        """Store a record if the revision is still the one that was read.

        Raises ``StateChanged`` when it is not, ``StateUnwritable`` when it cannot be stored; the old one then stays.
        """


class Outside(Protocol):
    """What a rollout asks of the world outside the platform."""

    def check(self, checks: Sequence[Check], addresses: Sequence[str]) -> None:
        """Send every check to every address. Raises ``CheckFailed`` at the first that does not hold."""

    def run(self, hooks: Sequence[StepHook], rollout: Rollout) -> None:
        """Run hooks in order. Raises ``HookFailed`` at the first that fails; one may run twice after a crash."""
