"""Whether a fault arrived as asked. Pure: an experiment whose fault did not arrive has shown nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from quadra_matrix.chaos.samples import Sample, quantile, seconds_of
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.fixed import wilson
from quadra_matrix.stats.special import student_point


class Delivery(StrEnum):
    """How what arrived compares with what was asked."""

    DELIVERED = "delivered"
    UNDER = "under-delivered"
    OVER = "over-delivered"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Dose:
    """One measure of a fault: asked and delivered."""

    what: str
    """Such as ``added latency``."""
    unit: str
    asked: float
    tolerance: float
    """How far the delivered dose may be from the asked one, in the unit."""
    delivered: float | None = None
    low: float | None = None
    high: float | None = None
    """The interval of the delivered dose, where there is one."""
    detail: str = ""
    """Further figures, for people."""

    @property
    def delivery(self) -> Delivery:
        """Compare what arrived with what was asked; an interval that reaches the tolerance is within it."""
        if self.delivered is None:
            return Delivery.UNMEASURED
        high = self.delivered if self.high is None else self.high
        low = self.delivered if self.low is None else self.low
        if high < self.asked - self.tolerance:
            return Delivery.UNDER
        return Delivery.OVER if low > self.asked + self.tolerance else Delivery.DELIVERED

    def __str__(self) -> str:
        """Return asked and delivered as people read them."""
        asked = f"{self.what}: asked {self.asked:g} {self.unit}"
        if self.delivered is None:
            return f"{asked}, {Delivery.UNMEASURED}"
        bounds = "" if self.low is None or self.high is None else f" [{self.low:.4g}, {self.high:.4g}]"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{asked}, delivered {self.delivered:.4g}{bounds} {self.unit}{detail}"


LATENCY_SHARE, LATENCY_LEAST = 0.05, 0.005
"""Added latency may be off by 5 % of what was asked; by 5 ms where that is more."""
POINTS = 5.0
"""Shares and levels may be off by 5 points."""


def added_latency(asked: float, before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
    """Measure added latency, in seconds asked, as the difference of medians; the report is in milliseconds."""
    tolerance = max(LATENCY_SHARE * asked, LATENCY_LEAST)
    empty = Dose("added latency", "ms", 1000 * asked, 1000 * tolerance)
    first, then = seconds_of(before), seconds_of(during)
    base, hit = quantile(first, 0.5), quantile(then, 0.5)
    if base is None or hit is None:
        return empty
    added = hit.value - base.value
    # Each bound is as far as both medians can be from theirs (MOVER: Zou & Donner 2008).
    down = sqrt((hit.value - hit.low) ** 2 + (base.high - base.value) ** 2)
    up = sqrt((hit.high - hit.value) ** 2 + (base.value - base.low) ** 2)
    tails = [1000 * (_at(then, share) - _at(first, share)) for share in (0.95, 0.99)]
    return Dose(
        empty.what,
        empty.unit,
        empty.asked,
        empty.tolerance,
        1000 * added,
        1000 * (added - down),
        1000 * (added + up),
        f"p95 +{tails[0]:.4g}, p99 +{tails[1]:.4g}",
    )


def share(what: str, asked: float, hits: Counts) -> Dose:
    """Measure which share, from 0 to 1, of requests was hit, with Wilson's interval; the report is in percent."""
    bounds = wilson(hits)
    if bounds is None or bounds.low is None or bounds.high is None or hits.rate is None:
        return Dose(what, "%", 100 * asked, POINTS)
    detail = f"{hits.events} of {hits.total}"
    return Dose(what, "%", 100 * asked, POINTS, 100 * hits.rate, 100 * bounds.low, 100 * bounds.high, detail)


def share_held(asked: float, least: float, before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
    """Measure which share of good answers took ``least`` seconds longer than almost all did before."""
    usual = quantile(seconds_of(before), 0.95)
    times = seconds_of(during)
    if usual is None:
        return Dose("requests held back", "%", 100 * asked, POINTS)
    # Half of what is added, so that neither a slow answer counts as held nor a quick one that was held is missed.
    held = sum(seconds > usual.value + least / 2 for seconds in times)
    return share("requests held back", asked, Counts(len(times), held))


def level(what: str, asked: float, readings: Sequence[float], *, unit: str = "%", tolerance: float = POINTS) -> Dose:
    """Measure a level that was to be held, from readings of it, with the interval of their mean."""
    n = len(readings)
    if not n:
        return Dose(what, unit, asked, tolerance)
    mean = sum(readings) / n
    if n < 2:
        return Dose(what, unit, asked, tolerance, mean)
    spread = sqrt(sum((reading - mean) ** 2 for reading in readings) / (n - 1) / n)
    reach = spread * student_point(0.025, n - 1)
    detail = f"{n} readings from {min(readings):.4g} to {max(readings):.4g}"
    return Dose(what, unit, asked, tolerance, mean, mean - reach, mean + reach, detail)


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
