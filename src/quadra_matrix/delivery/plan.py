"""What a rollout does: steps, limits, margins, checks, and what happens when nothing can be decided."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from quadra_matrix.delivery.place import Place
from quadra_matrix.errors import require

STRICT: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True}
"""How a plan file is validated: unknown keys are errors, and the docstrings below are the schema's descriptions."""

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""A version is a name that a label, a file and an image tag can carry."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def valid_version(version: str) -> str:
    """Return ``version``, or raise ``InvalidValue`` before anything happens."""
    rule = "1 to 63 letters, digits, dots, dashes or underscores that start with a letter or digit"
    require(VERSION.fullmatch(version) is not None, "version", version, rule)
    return version


class Undecided(StrEnum):
    """What happens when a step's time is over and the evidence does not decide. None of them promotes."""

    HOLD = "hold"
    """Traffic returns to stable, the candidate keeps running, and a person decides later."""
    ABORT = "abort"
    """Roll back."""
    ASK = "ask"
    """As hold, and ask at once where there is a terminal."""


@dataclass(frozen=True, slots=True)
class Step:
    """One share of the traffic, and how long it is watched."""

    __pydantic_config__: ClassVar = STRICT

    share: float
    """Percent of the traffic that the candidate gets."""
    seconds: float = 120.0
    """Seconds to watch at least before the next step."""
    approve: bool = False
    """Wait for a person before the next step."""

    def __post_init__(self) -> None:
        require(0 < self.share <= 100, "steps.share", self.share, "above 0 and at most 100 (percent)")
        require(self.seconds >= 0, "steps.seconds", self.seconds, "0 or more")


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter of bad events, judged like errors are."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Name that the evidence source gives the counter."""
    relative: float = 1.0
    """Times stable's rate that the candidate's may reach."""
    points: float = 0.0
    """Difference of the rates, as a share of requests, that does not matter."""

    def __post_init__(self) -> None:
        require(self.name not in {"", "errors", "latency"}, "metrics.name", self.name, "a name of its own")
        require(self.relative >= 1, "metrics.relative", self.relative, "1 or more")
        require(0 <= self.points < 1, "metrics.points", self.points, "from 0 to below 1")


@dataclass(frozen=True, slots=True)
class Limits:
    """When the candidate is worse, when it is good enough, and how sure to be."""

    __pydantic_config__: ClassVar = STRICT

    alpha: float = 0.01
    """Chance of rolling back a candidate that is no worse, over the whole rollout and all its metrics."""
    error_rate: float = 0.05
    """Absolute guard: a candidate surely above this share of failed requests goes back, unless stable fails as much."""
    least_errors: int = 5
    """Failed requests before the absolute guard speaks."""
    relative: float = 1.0
    """Times stable's error rate that the candidate's may reach."""
    points: float = 0.0005
    """Difference of the error rates, as a share of requests, that does not matter."""
    latency_quantile: float = 0.95
    """Quantile of stable's latency that makes a request slow."""
    latency_growth: float = 1.2
    """Times stable's quantile that the candidate's may reach."""
    enough_points: float = 0.01
    """Good enough when the difference of the rates is surely below this share of requests."""
    enough_ratio: float = 2.0
    """Good enough when the candidate's rate is surely below this many times stable's."""
    latency: bool = True
    """Judge latency where the evidence has histograms."""
    restarts: int = 1
    """Times the candidate's processes may be restarted."""

    def __post_init__(self) -> None:
        require(0 < self.alpha < 0.5, "limits.alpha", self.alpha, "above 0 and below 0.5")
        require(0 < self.error_rate <= 1, "limits.error_rate", self.error_rate, "above 0 and at most 1")
        require(self.least_errors >= 1, "limits.least_errors", self.least_errors, "1 or more")
        require(self.relative >= 1, "limits.relative", self.relative, "1 or more")
        require(0 <= self.points < 1, "limits.points", self.points, "from 0 to below 1")
        quantile = self.latency_quantile
        require(0.5 <= quantile < 1, "limits.latency_quantile", quantile, "from 0.5 to below 1")
        require(self.latency_growth >= 1, "limits.latency_growth", self.latency_growth, "1 or more")
        require(0 < self.enough_points < 1, "limits.enough_points", self.enough_points, "above 0 and below 1")
        require(self.enough_ratio > self.relative, "limits.enough_ratio", self.enough_ratio, "above limits.relative")
        require(self.restarts >= 0, "limits.restarts", self.restarts, "0 or more")


@dataclass(frozen=True, slots=True)
class Check:
    """A smoke test: one request straight to the new version, past the proxy."""

    __pydantic_config__: ClassVar = STRICT

    path: str = "/health"
    """Path and query."""
    method: str = "GET"
    """HTTP method."""
    body: str | None = None
    """Request body, sent as JSON."""
    status: int = 200
    """Status that the answer must have."""
    fields: dict[str, str | float | bool | None] = field(default_factory=dict)
    """Dotted path in the JSON answer -> value it must have."""
    within: float = 5.0
    """Seconds the answer may take."""

    def __post_init__(self) -> None:
        require(self.path.startswith("/"), "checks.path", self.path, "a path that starts with /")
        require(100 <= self.status < 600, "checks.status", self.status, "an HTTP status")
        require(self.within > 0, "checks.within", self.within, "above 0 (seconds)")


class When(StrEnum):
    """On which side of a step a hook runs."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class StepHook:
    """Something of the user's that runs beside a step: a web request or a command. A failure rolls back."""

    __pydantic_config__: ClassVar = STRICT

    when: When
    """Before the traffic moves, or after the step was watched."""
    url: str | None = None
    """Address that gets a POST with the rollout as JSON; an answer of 400 or more is a failure."""
    command: tuple[str, ...] = ()
    """Program and arguments; a status other than 0 is a failure. QUADRA_ROLLOUT holds the rollout as JSON."""
    share: float | None = None
    """Run only at the step with this share; at every step without."""
    timeout: float = 30.0
    """Seconds it may take."""

    def __post_init__(self) -> None:
        require((self.url is None) != (not self.command), "hooks", self.url or self.command, "one of url and command")
        require(self.timeout > 0, "hooks.timeout", self.timeout, "above 0 (seconds)")


class Origin(StrEnum):
    """Where the evidence comes from."""

    TRAFFIC = "traffic"
    """The proxy's own counters."""
    METRICS = "metrics"
    """The instances' own /metrics."""
    PROMETHEUS = "prometheus"
    """A Prometheus server."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the evidence comes from, and what the counters are called there."""

    __pydantic_config__: ClassVar = STRICT

    origin: Origin = Origin.TRAFFIC
    """traffic, metrics or prometheus. Custom metrics are read from /metrics beside the first."""
    url: str | None = None
    """Address of the Prometheus server."""
    path: str = "/metrics"
    """Path of an instance's metrics."""
    requests: str = "http_requests_total"
    """Counter of requests, by status."""
    status: str = "status"
    """Label of the status."""
    failed: str = "5.."
    """Pattern of the statuses that are errors."""
    latency: str = "http_request_duration_seconds"
    """Histogram of latencies in seconds."""
    version: str = "version"
    """Label of the version, for a Prometheus server."""

    def __post_init__(self) -> None:
        has_url = self.url is not None and self.url.startswith(("http://", "https://"))
        if self.origin is Origin.PROMETHEUS:
            require(has_url, "evidence.url", self.url, "the http or https address of the Prometheus server")
        try:
            re.compile(self.failed)
        except re.error:
            require(False, "evidence.failed", self.failed, "a regular expression")


PROMISED_STEPS = tuple(Step(share) for share in (10.0, 25.0, 50.0, 75.0, 100.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout, declared. The defaults are the promised ones: 10, 25, 50, 75, 100 %, two minutes each."""

    __pydantic_config__: ClassVar = STRICT

    steps: tuple[Step, ...] = PROMISED_STEPS
    """Shares in rising order."""
    limits: Limits = field(default_factory=Limits)
    """When to go back, when to go on."""
    metrics: tuple[Metric, ...] = ()
    """Counters of your own that are judged too."""
    evidence: Source = field(default_factory=Source)
    """Where the evidence comes from."""
    checks: tuple[Check, ...] = (Check(),)
    """Smoke tests before any traffic."""
    hooks: tuple[StepHook, ...] = ()
    """What else runs before and after each step."""
    notify: tuple[str, ...] = ()
    """Addresses that get a POST when the rollout moves. A failure there is logged and changes nothing."""
    undecided: Undecided = Undecided.HOLD
    """What happens when a step's patience is over and nothing is decided."""
    tick: float = 5.0
    """Seconds between two looks."""
    baseline: float = 30.0
    """Seconds to watch stable alone before the first step: how much its errors come in clumps is learnt here."""
    patience: float = 900.0
    """Seconds a step may take to be decided."""
    holdback: float = 5.0
    """Percent that stays on stable until the promotion, so that the last step still has a baseline."""
    ready_within: float = 60.0
    """Seconds the new version has to become ready."""
    drain_within: float = 30.0
    """Seconds that open requests of a version have to end before it is stopped."""
    watch: float = 60.0
    """Seconds a blue-green switch is watched before the rollout counts as live."""
    mirror: float = 0.0
    """Percent of stable's requests that are also sent to the candidate; its answers are dropped."""
    sticky_cookie: str | None = None
    """Cookie that keeps a user on one version. Newcomers get it."""
    sticky_header: str | None = None
    """Request header that keeps a user on one version."""
    place: Place = field(default_factory=Place)
    """Where versions run."""

    def __post_init__(self) -> None:
        require(len(self.steps) > 0, "steps", self.steps, "at least one step")
        shares = [step.share for step in self.steps]
        require(shares == sorted(set(shares)), "steps", shares, "in rising order")
        names = [metric.name for metric in self.metrics]
        require(len(names) == len(set(names)), "metrics", names, "each named once")
        require(self.tick > 0, "tick", self.tick, "above 0 (seconds)")
        require(self.baseline >= 0, "baseline", self.baseline, "0 or more")
        longest = max(step.seconds for step in self.steps)
        require(self.patience >= longest, "patience", self.patience, f"at least the longest step ({longest:g} s)")
        require(0 <= self.holdback < 50, "holdback", self.holdback, "from 0 to below 50 (percent)")
        require(self.ready_within > 0, "ready_within", self.ready_within, "above 0 (seconds)")
        require(self.drain_within >= 0, "drain_within", self.drain_within, "0 or more")
        require(self.watch >= 0, "watch", self.watch, "0 or more")
        require(0 <= self.mirror <= 100, "mirror", self.mirror, "from 0 to 100 (percent)")
        for name in ("sticky_cookie", "sticky_header"):
            value = getattr(self, name)
            require(value is None or TOKEN.fullmatch(value) is not None, name, value, "letters, digits, - and _")
        both = self.sticky_cookie is not None and self.sticky_header is not None
        require(not both, "sticky_header", self.sticky_header, "left out when sticky_cookie is given")

    def share_at(self, step: int) -> float:
        """Return the percent that the candidate really gets at a step: the holdback stays on stable."""
        return min(self.steps[step].share, 100.0 - self.holdback)

    def hooks_at(self, step: int, when: When) -> tuple[StepHook, ...]:
        """Return the hooks of one side of a step."""
        share = self.steps[step].share
        return tuple(hook for hook in self.hooks if hook.when is when and hook.share in (None, share))
