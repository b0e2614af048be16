"""How a run ended: one verdict, and the facts behind it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quadra_matrix.chaos.dose import Delivery, Dose
from quadra_matrix.chaos.model import Expectation
from quadra_matrix.chaos.recovery import Finding, Judged, Span


class Verdict(StrEnum):
    """What a run shows."""

    TOLERATED = "tolerated"
    RECOVERED = "recovered"
    DEVIATED = "deviated"
    NOT_RECOVERED = "not recovered"
    STOPPED = "stopped"
    NOT_STEADY = "not steady"
    INVALID = "invalid"
    REMAINS = "fault remains"
    REFUSED = "refused"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"

    @property
    def exit(self) -> int:
        """Return the exit code of a command that ends so."""
        return EXITS[self]

    @property
    def is_pass(self) -> bool:
        """Tell whether the service did what was expected of it."""
        return self.exit == 0


EXITS = {
    Verdict.TOLERATED: 0,
    Verdict.RECOVERED: 0,
    Verdict.DEVIATED: 1,
    Verdict.NOT_RECOVERED: 1,
    Verdict.STOPPED: 1,
    Verdict.NOT_STEADY: 3,
    Verdict.INVALID: 4,
    Verdict.REMAINS: 5,
    Verdict.REFUSED: 6,
    Verdict.SKIPPED: 7,
    Verdict.INTERRUPTED: 130,
    Verdict.TERMINATED: 143,
}


@dataclass(frozen=True, slots=True)
class Times:
    """When what happened; each moment lies between two probes. Seconds from the start of what causes it."""

    to_impact: Span | None = None
    """From the injection to the first harm."""
    to_mitigation: Span | None = None
    """From the injection until the service was as before although the fault was still in place."""
    to_recover: Span | None = None
    """From the lift until the service was as before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that is known of one run."""

    experiment: str
    run: str
    verdict: Verdict
    because: str
    started: float = 0.0
    """Seconds since the epoch."""
    seconds: float = 0.0
    doses: tuple[Dose, ...] = ()
    tolerance: Judged | None = None
    """The service while the fault was in place, beside its baseline."""
    times: Times = field(default_factory=Times)
    overhead: float | None = None
    """Seconds that the proxy adds to the median answer while it disturbs nothing; None without a proxy."""
    seed: int = 0
    notes: tuple[str, ...] = ()


def verdict_of(
    expect: Expectation, doses: tuple[Dose, ...], tolerance: Judged, to_recover: Span | None, rto: float
) -> tuple[Verdict, str]:
    """Decide what a run shows whose fault was held and lifted as planned."""
    off = [dose for dose in doses if dose.delivery is not Delivery.DELIVERED]
    if off:
        return Verdict.INVALID, "; ".join(f"{dose.delivery}: {dose}" for dose in off)
    if tolerance.finding is Finding.SAME:
        return Verdict.TOLERATED, tolerance.because
    if expect is Expectation.TOLERATES:
        return Verdict.DEVIATED, f"expected to tolerate the fault: {tolerance.because}"
    if to_recover is None or to_recover.high > rto:
        return Verdict.NOT_RECOVERED, f"not shown to be as before within {rto:g} s"
    return Verdict.RECOVERED, f"as before between {to_recover.low:.2f} and {to_recover.high:.2f} s after the lift"
