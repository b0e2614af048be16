"""What probes saw, and the order statistics of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.special import normal_point


@dataclass(frozen=True, slots=True)
class Sample:
    """One probe."""

    at: float
    """Seconds from the start of the run to when the probe was due."""
    seconds: float
    """From when it was due to its answer: a late start counts, so that a stalled service cannot hide its own delay."""
    ok: bool
    """False for an error, and for an answer that took longer than the probe waits."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile with its distribution-free interval."""

    value: float
    low: float
    high: float


def errors_of(samples: Sequence[Sample]) -> Counts:
    """Count the samples and those that failed."""
    return Counts(len(samples), sum(not sample.ok for sample in samples))


def seconds_of(samples: Iterable[Sample]) -> list[float]:
    """Return how long the good answers took, shortest first."""
    return sorted(sample.seconds for sample in samples if sample.ok)


def quantile(ordered: Sequence[float], share: float, *, alpha: float = 0.05) -> Quantile | None:
    """Return a quantile of rising values, with the order statistics that bound it at each side with 1 - alpha.

    None where there are too few values to bound it on both sides.
    """
    n = len(ordered)
    reach = normal_point(alpha) * sqrt(n * share * (1 - share))
    low, high = floor(n * share - reach) - 1, ceil(n * share + reach)
    if low < 0 or high >= n:
        return None
    return Quantile(ordered[min(n - 1, int(n * share))], ordered[low], ordered[high])
