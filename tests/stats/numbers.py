"""Extreme inputs for the statistics, and the rule that every one of their results obeys."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass

from hypothesis import strategies as st

from quadra_matrix.stats.arms import Counts, Interval, Mean, Sums, mean_of

MOST = 10**12


def counts(most: int = MOST) -> st.SearchStrategy[Counts]:
    """Arms from empty to a trillion, with no, few, some, most or only events."""
    size = st.one_of(st.integers(0, 20), st.integers(0, 10_000), st.integers(0, most))
    return size.flatmap(
        lambda n: st.builds(
            Counts,
            st.just(n),
            st.one_of(st.integers(0, n), st.integers(0, min(n, 3)), st.integers(max(0, n - 3), n)),
        )
    )


def numbers() -> st.SearchStrategy[float]:
    """Any float, infinities and NaN among them."""
    return st.one_of(st.floats(), st.floats(-1e3, 1e3))


def sums() -> st.SearchStrategy[Sums]:
    return st.builds(Sums, st.one_of(st.integers(0, 5), st.integers(0, MOST)), numbers(), numbers())


def means() -> st.SearchStrategy[Mean]:
    return sums().map(mean_of)


def every_number_is_finite(value: object) -> bool:
    """Whether no float in a value, at any depth, is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, tuple | list):
        return all(map(every_number_is_finite, value))
    if is_dataclass(value):
        return all(every_number_is_finite(getattr(value, field.name)) for field in fields(value))
    return True


def contains(interval: Interval | None, value: float | None) -> bool:
    """Whether a number lies in an interval; a side without a limit holds everything."""
    if interval is None or value is None:
        return False
    return (interval.low is None or interval.low <= value) and (interval.high is None or value <= interval.high)
