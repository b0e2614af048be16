"""Latency as counts."""

from __future__ import annotations

import pytest

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.exceedance import Histogram, count_slower, limit_for, slower_than

SEEN = Histogram(limits=(0.1, 0.5, 1.0), at_most=(80, 95, 99), total=100)


@pytest.mark.parametrize(("quantile", "limit"), [(0.5, 0.1), (0.8, 0.1), (0.81, 0.5), (0.95, 0.5), (0.995, None)])
def test_the_limit_is_the_lowest_that_enough_requests_kept(quantile: float, limit: float | None) -> None:
    assert limit_for(SEEN, quantile) == limit


def test_without_requests_there_is_no_limit() -> None:
    assert limit_for(Histogram((0.1,), (0,), 0)) is None


def test_slower_requests_are_counted_from_buckets_and_from_times() -> None:
    assert slower_than(0.5, SEEN) == Counts(100, 5)
    assert count_slower(0.5, [0.1, 0.5, 0.6]) == Counts(3, 1)


@pytest.mark.parametrize(
    ("limits", "at_most", "total"),
    [((), (), 0), ((2.0, 1.0), (1, 1), 1), ((1.0,), (5,), 4), ((1.0, 2.0), (3, 2), 4), ((1.0,), (), 4)],
)
def test_impossible_histograms_are_refused(limits: tuple[float, ...], at_most: tuple[int, ...], total: int) -> None:
    with pytest.raises(InvalidValue):
        Histogram(limits, at_most, total)


def test_a_limit_between_buckets_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"limit is 0.3; it must be one of"):
        slower_than(0.3, SEEN)
    with pytest.raises(InvalidValue, match="quantile is 1"):
        limit_for(SEEN, 1)
