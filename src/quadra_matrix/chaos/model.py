"""An experiment, as typed values: what is broken, how it is watched, what must hold, when it is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from urllib.parse import urlsplit

from quadra_matrix.chaos.faults.port import Fault
from quadra_matrix.chaos.recovery import STRICT, Margins, fewest
from quadra_matrix.errors import require


class Phase(StrEnum):
    """Where a run is."""

    BASELINE = "baseline"
    INJECT = "inject"
    HOLD = "hold"
    LIFT = "lift"
    RECOVERY = "recovery"
    REPORT = "report"


class Expectation(StrEnum):
    """What an experiment expects of the service."""

    TOLERATES = "tolerates"
    """It is not harmed while the fault is in place."""
    RECOVERS = "recovers"
    """It may be harmed, and is as before within the time to recover."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is tried: an address that probes ask, and the process behind it where a fault needs it."""

    __pydantic_config__: ClassVar = STRICT

    url: str = "http://127.0.0.1:5000/health"
    """``http://``, ``https://`` or ``tcp://host:port``."""
    pid: int | None = None
    """Number of the process."""
    environment: str = "development"
    """Where the target runs; ``production`` is refused unless the run allows it."""

    def __post_init__(self) -> None:
        known = self.url.startswith(("http://", "https://", "tcp://"))
        require(known, "url", self.url, "an address that starts with http://, https:// or tcp://")
        require(self.pid is None or self.pid > 1, "pid", self.pid, "above 1")

    @property
    def address(self) -> str:
        """Return ``host:port``."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


@dataclass(frozen=True, slots=True)
class Probing:
    """How the target is watched, from the baseline to the recovery."""

    __pydantic_config__: ClassVar = STRICT

    rate: float = 40.0
    """Probes a second, whether earlier ones were answered or not."""
    timeout: float = 5.0
    """Seconds after which a probe has failed. Above the latency that is injected, or every probe fails."""
    samples: int = 600
    """Probes of the baseline; recovery is judged on windows of half as many and of as many."""
    verify: bool = True
    """Whether the certificate of an ``https://`` target is checked."""

    def __post_init__(self) -> None:
        require(0 < self.rate <= 500, "rate", self.rate, "above 0 and at most 500")
        require(0 < self.timeout <= 300, "timeout", self.timeout, "above 0 and at most 300")
        require(100 <= self.samples <= 100_000, "samples", self.samples, "from 100 to 100000")


@dataclass(frozen=True, slots=True)
class Stop:
    """When a fault is lifted at once, before its time."""

    __pydantic_config__: ClassVar = STRICT

    error_rate: float | None = None
    """Share of failed probes over ``window`` that nobody should have to bear."""
    seconds: float | None = None
    """Median answer over ``window`` that nobody should have to bear."""
    window: float = 5.0
    """Seconds looked back."""

    def __post_init__(self) -> None:
        rate = self.error_rate
        require(rate is None or 0 <= rate <= 1, "error_rate", rate, "from 0 to 1")
        require(self.window > 0, "window", self.window, "above 0")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    faults: tuple[Fault, ...]
    """Put in place together, in this order."""
    target: Target = field(default_factory=Target)
    hold: float = 30.0
    """Seconds the faults stay."""
    expect: Expectation = Expectation.RECOVERS
    rto: float = 60.0
    """Seconds in which the service must be as before, from the lift on."""
    steady: float = 0.05
    """Share of baseline probes that may fail; with more there is no steady state to compare with."""
    margins: Margins = field(default_factory=Margins)
    stop: Stop = field(default_factory=Stop)
    probing: Probing = field(default_factory=Probing)
    lease: float = 3.0
    """Seconds of silence after which the faults are taken back by others."""
    seed: int = 0
    """Decides which requests are hit; the same seed, the same sequence."""

    def __post_init__(self) -> None:
        require(bool(self.name), "name", self.name, "not empty")
        require(bool(self.faults), "faults", self.faults, "at least one fault")
        require(self.hold > 0, "hold", self.hold, "above 0")
        require(self.rto > 0, "rto", self.rto, "above 0")
        require(0 <= self.steady < 1, "steady", self.steady, "from 0 to below 1")
        least = fewest(self.margins)
        samples = self.probing.samples
        require(samples >= least, "samples", samples, f"at least {least} to judge by these margins")
        require(self.lease >= 1, "lease", self.lease, "at least 1")
