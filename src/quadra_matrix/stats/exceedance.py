"""Latency as a yes-or-no question: is a request slower than what control's slowest few took?

A quantile of a small sample jumps about; whether a request exceeds a fixed limit is a plain count, and every test of
counts applies. The limit must be fixed before the requests that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Counts


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many requests took at most each limit, as Prometheus counts them; the rest took longer than all limits."""

    limits: tuple[float, ...]
    """Seconds, rising."""
    at_most: tuple[int, ...]
    """Requests that took at most each limit; never falling."""
    total: int

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.limits))
        require(bool(self.limits) and rising, "limits", self.limits, "one or more rising numbers")
        counts = (0, *self.at_most, self.total)
        grows = all(a <= b for a, b in pairwise(counts))
        same = len(self.at_most) == len(self.limits)
        require(same and grows, "at_most", self.at_most, f"one for each limit, never falling, up to {self.total}")


def limit_for(history: Histogram, quantile: float = 0.95) -> float | None:
    """Return the lowest limit that at least this share of control's requests kept; None if no limit is that high."""
    require(0 < quantile < 1, "quantile", quantile, "between 0 and 1")
    if not history.total:
        return None
    kept = (limit for limit, n in zip(history.limits, history.at_most, strict=True) if n >= quantile * history.total)
    return next(kept, None)


def slower_than(limit: float, seen: Histogram) -> Counts:
    """Count the requests that took longer than one of the histogram's limits."""
    require(limit in seen.limits, "limit", limit, f"one of {seen.limits}")
    return Counts(seen.total, seen.total - seen.at_most[seen.limits.index(limit)])


def count_slower(limit: float, seconds: Sequence[float]) -> Counts:
    """Count the requests that took longer than ``limit``, where each one's time is known."""
    return Counts(len(seconds), sum(taken > limit for taken in seconds))
