"""What several runs of one experiment say about its time to recover. Pure: chance comes in as a number generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb, inf
from statistics import median

from quadra_matrix.chaos.outcome import Outcome
from quadra_matrix.stats.arms import Interval

GATE = 0.95
"""Share of runs that must recover in their time."""
ALPHA = 0.05
RESAMPLES = 2000


class Gate(StrEnum):
    """Whether enough runs recovered in their time."""

    MET = "met"
    MISSED = "missed"
    INSUFFICIENT = "insufficient"
    """The runs are too few to say."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The times to recover of several runs, each the upper end of its interval; infinite where it never was shown."""

    runs: int
    passed: int
    median: float
    longest: float
    interval: Interval
    """Of the median, by the bootstrap; a side is None where it is not finite."""
    gate: Gate

    def __str__(self) -> str:
        """Return what people read."""
        low, high = (f"{side:.2f}" if side is not None else "never" for side in (self.interval.low, self.interval.high))
        return (
            f"{self.passed} of {self.runs} runs passed; time to recover: median {_seconds(self.median)} "
            f"[{low}, {high}], longest {_seconds(self.longest)}; in {GATE:.0%} of runs in time: {self.gate}"
        )


def repeated(outcomes: Sequence[Outcome], chance: Callable[[], float]) -> Repeated:
    """Return what runs of one experiment say together. At least one run."""
    found = [outcome.times.to_recover for outcome in outcomes]
    times = sorted(span.high if span is not None else inf for span in found)
    n, passed = len(times), sum(outcome.verdict.is_pass for outcome in outcomes)
    medians = sorted(median(times[int(chance() * n)] for _ in times) for _ in range(RESAMPLES))
    low, high = medians[int(ALPHA / 2 * RESAMPLES)], medians[int((1 - ALPHA / 2) * RESAMPLES)]
    return Repeated(n, passed, median(times), times[-1], Interval(_finite(low), _finite(high)), gate_of(passed, n))


def gate_of(passed: int, runs: int) -> Gate:
    """Say whether at least 95 % of all runs would pass, with 5 % chance to be wrong either way (exact binomial).

    With none missed it takes 59 runs to be sure.
    """
    chances = [comb(runs, count) * GATE**count * (1 - GATE) ** (runs - count) for count in range(runs + 1)]
    if sum(chances[passed:]) <= ALPHA:
        return Gate.MET
    return Gate.MISSED if sum(chances[: passed + 1]) <= ALPHA else Gate.INSUFFICIENT


def _finite(seconds: float) -> float | None:
    return seconds if seconds < inf else None


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < inf else "never"
