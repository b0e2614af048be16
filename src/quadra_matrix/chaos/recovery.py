"""When a service is as it was before: by non-inferiority to its baseline, not by a lucky probe. Pure.

One good probe calls a service that still fails 5 % of its requests recovered in 94 % of cases; ten in a row in 60 %.
Here the window that starts at a moment, and then its doubled extension, must each show by upper 95 % bounds that
neither errors nor times are worse than the baseline by more than the margins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, sqrt
from typing import ClassVar

from quadra_matrix.chaos.samples import Quantile, Sample, errors_of, quantile, seconds_of
from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Alternative, Counts
from quadra_matrix.stats.fixed import newcombe

STRICT = {"extra": "forbid"}
"""For pydantic, which reads experiments from files: an unknown field is refused."""
STEP = 30
"""Samples after which another start is tried although no bad sample came before it."""
RUN, OF = 3, 5
"""So many bad samples of so many are an impact; one alone is chance."""


@dataclass(frozen=True, slots=True)
class Margins:
    """By how much a service may be worse than its baseline and still count as the same."""

    __pydantic_config__: ClassVar = STRICT

    errors: float = 0.02
    """Difference of the error rates, as a share."""
    median: float = 1.25
    """Ratio of the median times."""
    p95: float = 1.5
    """Ratio of the 95th percentiles."""
    slack: float = 0.005
    """Seconds by which a time may be longer whatever the ratio: of an answer in 1 ms, a quarter is noise."""

    def __post_init__(self) -> None:
        require(0 < self.errors < 1, "errors", self.errors, "above 0 and below 1")
        require(self.median > 1, "median", self.median, "above 1")
        require(self.p95 > 1, "p95", self.p95, "above 1")
        require(self.slack >= 0, "slack", self.slack, "at least 0")

    @property
    def wider(self) -> Margins:
        """Return the margins of the first window, which has half the samples."""
        return Margins(1.5 * self.errors, 1.2 * self.median - 0.2, self.p95, self.slack)


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the service was before."""

    errors: Counts
    median: Quantile
    p95: Quantile

    def is_bad(self, sample: Sample, margins: Margins) -> bool:
        """Tell whether one sample is unlike the baseline."""
        return not sample.ok or sample.seconds > _limit(self.p95.value, margins.p95, margins.slack)


class Finding(StrEnum):
    """What samples say about the service."""

    SAME = "as before"
    WORSE = "worse"
    UNCLEAR = "not shown"


@dataclass(frozen=True, slots=True)
class Judged:
    """A window of samples beside the baseline."""

    finding: Finding
    because: str


@dataclass(frozen=True, slots=True)
class Span:
    """A moment, known to lie after ``low`` and at most at ``high``; seconds."""

    low: float
    high: float


def baseline_of(samples: Sequence[Sample]) -> Baseline | None:
    """Return what the samples before a fault say; None where they are too few to say it."""
    ordered = seconds_of(samples)
    median, p95 = quantile(ordered, 0.5), quantile(ordered, 0.95)
    return None if median is None or p95 is None else Baseline(errors_of(samples), median, p95)


def compare(baseline: Baseline, samples: Sequence[Sample], margins: Margins) -> Judged:
    """Say whether samples show that the service is the same, that it is worse, or neither."""
    errors = errors_of(samples)
    above = newcombe(baseline.errors, errors, alternative=Alternative.LESS)
    below = newcombe(baseline.errors, errors, alternative=Alternative.GREATER)
    if above is None or below is None:
        return Judged(Finding.UNCLEAR, "no samples")
    ordered = seconds_of(samples)
    found = [_within("errors", below.low or 0.0, above.high or 0.0, margins.errors)]
    for name, share, before, ratio in (
        ("median time", 0.5, baseline.median, margins.median),
        ("p95 time", 0.95, baseline.p95, margins.p95),
    ):
        after = quantile(ordered, share)
        if after is None:
            found.append(Judged(Finding.UNCLEAR, f"{name}: too few good answers"))
            continue
        low, high = _ratio_bounds(before, after)
        found.append(_within(name, low, high, _limit(before.value, ratio, margins.slack) / before.value))
    worst = [one for finding in (Finding.WORSE, Finding.UNCLEAR) for one in found if one.finding is finding]
    return worst[0] if worst else Judged(Finding.SAME, "; ".join(one.because for one in found))


def recovered(
    baseline: Baseline, samples: Sequence[Sample], margins: Margins, *, window: int, since: float
) -> Span | None:
    """Return when the service was as before, as seconds from ``since``, or None as long as that is not shown.

    ``window`` is the number of samples of the doubled window; ``samples`` are in the order they were due.
    """
    half = window // 2
    for start in _starts(baseline, samples, margins):
        if start + window > len(samples):
            return None
        first = compare(baseline, samples[start : start + half], margins.wider)
        if first.finding is not Finding.SAME:
            continue
        if compare(baseline, samples[start : start + window], margins).finding is Finding.SAME:
            return _between(samples, start, since)
    return None


def fewest(margins: Margins) -> int:
    """Return the fewest samples of a baseline and its windows on which a flawless service can be shown to be one."""
    window = 2
    while not (_is_flawless(window // 2, margins.wider) and _is_flawless(window, margins)):
        window += 2
    return window


def impact(baseline: Baseline, samples: Sequence[Sample], margins: Margins, *, since: float) -> Span | None:
    """Return when the service began to be unlike the baseline, as seconds from ``since``; None if it did not."""
    bad = [baseline.is_bad(sample, margins) for sample in samples]
    for index, is_bad in enumerate(bad):
        if is_bad and sum(bad[index : index + OF]) >= RUN:
            return _between(samples, index, since)
    return None


def _starts(baseline: Baseline, samples: Sequence[Sample], margins: Margins) -> Iterator[int]:
    """Yield where a recovery may begin: good samples after bad ones, and one now and then."""
    is_after_bad = True
    for index, sample in enumerate(samples):
        is_bad = baseline.is_bad(sample, margins)
        if not is_bad and (is_after_bad or index % STEP == 0):
            yield index
        is_after_bad = is_bad


def _is_flawless(n: int, margins: Margins) -> bool:
    """Tell whether n good samples bound the 95th percentile, and show that errors are within the margin."""
    if quantile(range(n), 0.95) is None:
        return False
    above = newcombe(Counts(2 * n, 0), Counts(n, 0), alternative=Alternative.LESS)
    return above is not None and (above.high or 0.0) <= margins.errors


def _between(samples: Sequence[Sample], index: int, since: float) -> Span:
    """Return the span from the sample before to one sample, as seconds from ``since``."""
    return Span(samples[index - 1].at - since if index else 0.0, samples[index].at - since)


def _limit(value: float, ratio: float, slack: float) -> float:
    return max(value * ratio, value + slack)


def _within(name: str, low: float, high: float, limit: float) -> Judged:
    """Compare an interval with what is allowed."""
    if high <= limit:
        return Judged(Finding.SAME, f"{name} at most {high:.3g} of {limit:.3g} allowed")
    finding = Finding.WORSE if low > limit else Finding.UNCLEAR
    return Judged(finding, f"{name} between {low:.3g} and {high:.3g}, allowed {limit:.3g}")


def _ratio_bounds(before: Quantile, after: Quantile) -> tuple[float, float]:
    """Return the bounds of the ratio of two quantiles, from theirs (MOVER: Zou & Donner 2008, on logarithms)."""
    centre = log(after.value / before.value)
    down = sqrt(log(after.value / after.low) ** 2 + log(before.high / before.value) ** 2)
    up = sqrt(log(after.high / after.value) ** 2 + log(before.value / before.low) ** 2)
    return exp(centre - down), exp(centre + up)
