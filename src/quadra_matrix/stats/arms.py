"""What is known of one arm: counts, sums, a mean; and of two arms: a comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import isfinite

from quadra_matrix.errors import require


@dataclass(frozen=True, slots=True)
class Counts:
    """How many were tried (users, requests), and to how many of them the event (conversion, error) happened."""

    total: int
    events: int

    def __post_init__(self) -> None:
        require(self.total >= 0, "total", self.total, "at least 0")
        require(0 <= self.events <= self.total, "events", self.events, f"from 0 to total ({self.total})")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.total + other.total, self.events + other.events)

    @property
    def rate(self) -> float | None:
        """The share with the event; None when nobody was tried."""
        return self.events / self.total if self.total else None


NONE_YET = Counts(0, 0)


@dataclass(frozen=True, slots=True)
class Sums:
    """A metric over the units of one arm, as three sums. Units without a value count with 0."""

    n: int
    total: float
    squares: float

    def __post_init__(self) -> None:
        require(self.n >= 0, "n", self.n, "at least 0")


@dataclass(frozen=True, slots=True)
class PairSums:
    """Two values a unit (numerator and denominator, or metric and pre-period value) as sums and products."""

    n: int
    x: float
    y: float
    xx: float
    yy: float
    xy: float

    def __post_init__(self) -> None:
        require(self.n >= 0, "n", self.n, "at least 0")


@dataclass(frozen=True, slots=True)
class Mean:
    """What one arm shows of a metric: an estimate and the variance of a single unit around it."""

    n: int
    value: float | None = None
    variance: float | None = None
    reason: str | None = None
    """Why ``value`` or ``variance`` is None."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of an estimate. None is a side without a limit."""

    low: float | None
    high: float | None


class Alternative(Enum):
    """Which departures from the null count. Treatment is compared with control."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment against control, as a single planned look may read it."""

    difference: float | None = None
    """Treatment minus control, in the metric's unit."""
    lift: float | None = None
    """The difference as a share of control's value."""
    statistic: float | None = None
    p_value: float | None = None
    interval: Interval | None = None
    """Of the difference."""
    reason: str | None = None
    """Why a value above is None."""

    def without_test(self, reason: str) -> Comparison:
        """Return what can be said of the estimate alone, and why there is no test."""
        return replace(self, statistic=None, p_value=None, interval=None, reason=reason)


def mean_of(sums: Sums) -> Mean:
    """Return the mean and the sample variance of a metric."""
    if sums.n < 2:
        return Mean(sums.n, sums.total if sums.n else None, None, "an arm needs at least 2 units")
    value = sums.total / sums.n
    variance = (sums.squares - sums.total * value) / (sums.n - 1)
    return mean(sums.n, value, variance)


def rate_of(counts: Counts) -> Mean:
    """Return a rate as the mean of zeros and ones."""
    return mean_of(Sums(counts.total, counts.events, counts.events))


def mean(n: int, value: float, variance: float) -> Mean:
    """Return a ``Mean``, undefined when a number is beyond the floating point."""
    if not (isfinite(value) and isfinite(variance)):
        return Mean(n, reason="the sums are too large to compute with, or not numbers")
    return Mean(n, value, max(0.0, variance))  # rounding can push a variance of 0 just below it


def difference_of(control: float, treatment: float) -> Comparison:
    """Return the difference and, where control is not 0, the lift."""
    difference = treatment - control
    if not isfinite(difference):
        return Comparison(reason="the difference is too large to compute with")
    lift = difference / control if control else None
    if lift is None or not isfinite(lift):
        return Comparison(difference, reason="control's value is 0: there is no lift")
    return Comparison(difference, lift)
