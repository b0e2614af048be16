"""Ratios and CUPED from sums equal what the raw values give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.adjust import cuped, ratio_of
from quadra_matrix.stats.arms import PairSums
from quadra_matrix.stats.fixed import welch
from tests.stats.numbers import MOST, every_number_is_finite, numbers


def summed(x: np.ndarray, y: np.ndarray) -> PairSums:
    return PairSums(len(x), *(float(v.sum()) for v in (x, y, x * x, y * y, x * y)))


def users(seed: int, n: int, *, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a pre-period value and a correlated metric."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 3.0, n)
    return x, 0.8 * x + rng.normal(5 + lift, 2.0, n)


def test_a_ratio_is_the_mean_of_its_linearised_users() -> None:
    x, y = users(1, 500)

    found = ratio_of(summed(x, y))

    linear = (y - found.value * x) / x.mean()
    assert found.value == pytest.approx(y.sum() / x.sum())
    assert found.variance == pytest.approx(linear.var(ddof=1))


def test_the_error_of_a_ratio_is_that_of_a_bootstrap() -> None:
    x, y = users(2, 400)
    rng = np.random.default_rng(3)
    picks = rng.integers(0, 400, (4000, 400))

    found = ratio_of(summed(x, y))

    assert found.variance is not None
    assert (found.variance / 400) ** 0.5 == pytest.approx((y[picks].sum(1) / x[picks].sum(1)).std(), rel=0.05)


def test_cuped_equals_welch_on_adjusted_users() -> None:
    (xa, ya), (xb, yb) = users(4, 300), users(5, 700, lift=0.4)
    slope = (299 * np.cov(xa, ya)[0, 1] + 699 * np.cov(xb, yb)[0, 1]) / (299 * xa.var(ddof=1) + 699 * xb.var(ddof=1))
    centre = np.concatenate([xa, xb]).mean()
    expected = stats.ttest_ind(yb - slope * (xb - centre), ya - slope * (xa - centre), equal_var=False)

    found = cuped(summed(xa, ya), summed(xb, yb))
    tested = welch(found.control, found.treatment)

    assert found.slope == pytest.approx(slope)
    assert tested.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert tested.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_cuped_removes_the_variance_that_the_past_explains() -> None:
    x, y = users(6, 5000)

    found = cuped(summed(x, y), summed(x, y))

    assert found.control.variance == pytest.approx((1 - np.corrcoef(x, y)[0, 1] ** 2) * y.var(ddof=1), rel=1e-6)


def test_without_a_past_the_means_stay_as_they_are() -> None:
    _, y = users(7, 100)

    found = cuped(summed(np.zeros(100), y), summed(np.zeros(100), y))

    assert (found.slope, found.reason) == (None, "nothing to adjust by")
    assert found.control.value == pytest.approx(y.mean())
    assert found.control.variance == pytest.approx(y.var(ddof=1))


def test_too_few_units_say_so() -> None:
    one = PairSums(1, 1.0, 1.0, 1.0, 1.0, 1.0)

    assert ratio_of(one).reason == cuped(one, one).reason == "an arm needs at least 2 units"


def test_a_ratio_over_nothing_says_so() -> None:
    assert ratio_of(PairSums(3, 0.0, 1.0, 0.0, 1.0, 0.0)).reason == "the denominator is 0"


def test_impossible_sums_are_refused() -> None:
    with pytest.raises(InvalidValue, match="n is -1"):
        PairSums(-1, 0, 0, 0, 0, 0)


pairs = st.builds(PairSums, st.integers(0, MOST), *[numbers()] * 5)


@given(pairs, pairs)
def test_any_sums_give_numbers_or_a_reason(control: PairSums, treatment: PairSums) -> None:
    for found in (ratio_of(control), cuped(control, treatment)):
        assert every_number_is_finite(found)
    adjusted = cuped(control, treatment)
    assert all((arm.value is None) == (arm.reason is not None) for arm in (adjusted.control, adjusted.treatment))
