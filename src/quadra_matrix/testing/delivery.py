"""A platform in memory for rollouts: versions that behave as told, traffic that flows with the clock, strict order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.model import Readiness, Record, Rollout, Route, Routed
from quadra_matrix.delivery.plan import Check, StepHook
from quadra_matrix.delivery.ports import Stored
from quadra_matrix.delivery.state import from_json, to_json
from quadra_matrix.errors import CheckFailed, HookFailed, StartRefused, StateChanged, TrafficChanged, TrafficRefused
from quadra_matrix.testing.clock import FakeClock

BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Bounds of the fake histogram, in milliseconds."""


class OutOfOrder(AssertionError):
    """The engine did something that would cost requests."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a version behaves."""

    error_rate: float = 0.0
    slow_rate: float = 0.02
    """Share of requests that take 500 ms instead of 5."""
    starts_in: float = 1.0
    """Seconds from start to ready; infinity for never."""
    crashes_after: float = float("inf")
    """Seconds of life until its process ends."""
    checks_hold: bool = True
    startable: bool = True


@dataclass
class FakeWorkload:
    """A ``Workload`` whose versions become ready as the clock moves on."""

    clock: FakeClock
    behaviours: dict[str, Behaviour]
    started: dict[str, float] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    traffic: FakeTraffic | None = None
    stops_in: float = 0.0
    """Seconds that stopping takes; it has to be repeated until then."""
    stopping: dict[str, float] = field(default_factory=dict)

    def start(self, version: str) -> None:
        """Start a version; one that runs keeps running, one that crashed is started again."""
        behaviour = self.behaviours.get(version)
        if behaviour is None or not behaviour.startable:
            raise StartRefused(version, "nothing is known about it")
        if version not in self.started:
            self.started[version] = self.clock.monotonic()
        elif self._age(version) >= behaviour.crashes_after:
            self.started[version] = self.clock.monotonic()
            self.restarts[version] = self.restarts.get(version, 0) + 1

    def ready(self, version: str) -> Readiness:
        """Return one instance of one, or what is missing."""
        if version not in self.started:
            return Readiness()
        behaviour, age = self.behaviours[version], self._age(version)
        lives = behaviour.starts_in <= age < behaviour.crashes_after
        return Readiness(int(lives), 1, self.restarts.get(version, 0), (f"fake://{version}",) if lives else ())

    def settle(self, version: str) -> bool:
        """Do nothing: all versions are equal here."""
        return True

    def stop(self, version: str) -> bool:
        """Stop a version. Raises ``OutOfOrder`` while it gets traffic."""
        if self.traffic is not None and self.traffic.route.share(version) > 0:
            raise OutOfOrder(f"{version} was stopped with {self.traffic.route.share(version)} % of the traffic")
        if self.clock.monotonic() - self.stopping.setdefault(version, self.clock.monotonic()) < self.stops_in:
            return False
        for told in (self.started, self.restarts, self.stopping):
            told.pop(version, None)
        return True

    def _age(self, version: str) -> float:
        return self.clock.monotonic() - self.started[version]


@dataclass
class FakeTraffic:
    """A ``Traffic`` that refuses versions it does not know and raises ``OutOfOrder`` for ones that cannot answer."""

    workload: FakeWorkload
    route: Route
    revision: int = 1
    log: list[Route] = field(default_factory=list)
    """Every route that was in force, oldest first."""
    still_open: int = 0
    """Requests that every version keeps open."""
    takes: float = 0.0
    """Seconds until a route that was written is complete; infinity for never."""
    coming: tuple[Route, float] | None = None

    def __post_init__(self) -> None:
        self.workload.traffic = self
        self.log.append(self.route)

    def read(self) -> Routed:
        """Return the route in force."""
        return Routed(self.route, str(self.revision))

    def write(self, route: Route, revision: str) -> Routed:
        """Put a route in force."""
        if revision != str(self.revision):
            raise TrafficChanged(revision, str(self.revision))
        for version, share in route.weights.items():
            if version not in self.workload.started:
                raise TrafficRefused("the fake proxy", f"{version} is unknown")
            if share > self.route.share(version) and not self.workload.ready(version).ready:
                raise OutOfOrder(f"{version} was given {share} % of the traffic and has no ready instance")
        if self.coming is None or self.coming[0] != route:
            self.coming = (route, self.workload.clock.monotonic())
        self.revision += 1
        if self.workload.clock.monotonic() - self.coming[1] < self.takes:
            return Routed(self.route, str(self.revision), is_complete=False)
        self.route, self.coming = route, None
        self.log.append(route)
        return self.read()

    def open_requests(self, version: str) -> int:
        """Return how many requests are open."""
        return self.still_open


@dataclass
class FakeEvidence:
    """An ``Evidence`` whose counters grow with the clock: steady traffic, split as the route says, no chance."""

    clock: FakeClock
    traffic: FakeTraffic
    behaviours: dict[str, Behaviour]
    rate: float = 100.0
    """Requests a second, over all versions."""
    exact: dict[str, list[float]] = field(default_factory=dict)
    looked: float | None = None

    def read(self, version: str) -> Reading:
        """Return the counters of one instance."""
        self._flow()
        requests, errors, slow = (int(count) for count in self.exact.get(version, [0.0, 0.0, 0.0]))
        slower = {bound: requests if bound < 5.0 else slow if bound < 500.0 else 0 for bound in BOUNDS}
        return Reading({f"{version}-0": Counters(requests, errors, slower, timed=requests)})

    def _flow(self) -> None:
        """Let the requests happen that came since the last reading."""
        now = self.clock.monotonic()
        seconds, self.looked = 0.0 if self.looked is None else now - self.looked, now
        for version, share in self.traffic.route.weights.items():
            behaviour, exact = self.behaviours[version], self.exact.setdefault(version, [0.0, 0.0, 0.0])
            came = seconds * self.rate * share / 100.0
            for place, part in enumerate((1.0, behaviour.error_rate, behaviour.slow_rate)):
                exact[place] += came * part


class MemoryState:
    """A ``State`` in memory. Records go through JSON, as they would on a disk."""

    def __init__(self) -> None:
        self._stored = Stored(Record(), "0")

    def read(self) -> Stored:
        """Return the record."""
        return self._stored

    def swap(self, record: Record, revision: str) -> Stored:
        """Store a record."""
        if revision != self._stored.revision:
            raise StateChanged("the record in memory")
        self._stored = Stored(from_json(to_json(record)), str(int(revision) + 1))
        return self._stored


@dataclass
class FakeOutside:
    """An ``Outside`` whose checks hold as the version's behaviour says; hooks fail when told to."""

    behaviours: dict[str, Behaviour]
    failing: set[str] = field(default_factory=set)
    """Addresses of hooks that fail."""
    ran: list[str] = field(default_factory=list)

    def check(self, checks: Sequence[Check], addresses: Sequence[str]) -> None:
        """Hold or fail."""
        for address in addresses:
            if not self.behaviours[address.removeprefix("fake://")].checks_hold:
                raise CheckFailed(f"GET {address}{checks[0].path}", "answered 500 instead of 200")

    def run(self, hooks: Sequence[StepHook], rollout: Rollout) -> None:
        """Remember the hooks."""
        for hook in hooks:
            name = hook.url or " ".join(hook.command)
            if name in self.failing:
                raise HookFailed(name, "answered 500")
            self.ran.append(name)


class FakePlatform:
    """All of it together: ``v1`` has the traffic; give behaviours for it and for other versions."""

    def __init__(self, *, rate: float = 100.0, **behaviours: Behaviour) -> None:
        self.clock = FakeClock()
        self.behaviours = {"v1": Behaviour(), "v2": Behaviour(), **behaviours}
        self.workload = FakeWorkload(self.clock, self.behaviours)
        self.workload.started["v1"] = self.clock.monotonic() - 1000.0
        self.traffic = FakeTraffic(self.workload, Route({"v1": 100.0}))
        self.evidence = FakeEvidence(self.clock, self.traffic, self.behaviours, rate)
        self.outside = FakeOutside(self.behaviours)
        self.state = MemoryState()
