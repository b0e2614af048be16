"""One planned look: equal to statsmodels and scipy, and always a number or a reason."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Alternative, Comparison, Counts, Interval, Mean, Sums, mean_of, rate_of
from quadra_matrix.stats.fixed import newcombe, relative, welch, wilson, z_test
from tests.stats.numbers import contains, counts, every_number_is_finite, means

ORDINARY = [
    (Counts(1000, 50), Counts(1000, 70)),
    (Counts(20_000, 100), Counts(1_000, 9)),
    (Counts(31, 30), Counts(45, 40)),
    (Counts(10, 0), Counts(12, 5)),
]
NAMES = {Alternative.TWO_SIDED: "two-sided", Alternative.GREATER: "larger", Alternative.LESS: "smaller"}


@pytest.mark.parametrize(("pair", "alternative"), list(product(ORDINARY, Alternative)))
def test_z_equals_statsmodels(pair: tuple[Counts, Counts], alternative: Alternative) -> None:
    control, treatment = pair
    z, p = proportions_ztest(
        [treatment.events, control.events], [treatment.total, control.total], alternative=NAMES[alternative]
    )

    found = z_test(control, treatment, alternative=alternative)

    assert found.statistic == pytest.approx(z, rel=1e-10)
    assert found.p_value == pytest.approx(p, rel=1e-10)


@pytest.mark.parametrize(("pair", "margin"), list(product(ORDINARY, [-0.2, -0.01, 0.005, 0.3])))
def test_z_with_a_margin_takes_its_variance_from_the_likeliest_rates_under_the_null(
    pair: tuple[Counts, Counts], margin: float
) -> None:
    """The likelihood is maximised numerically: statsmodels 0.15 has n0 and x0 swapped in one term of its cubic."""
    control, treatment = pair

    def minus_log_likelihood(p: float) -> float:
        return -sum(
            xlogy(arm.events, rate) + xlogy(arm.total - arm.events, 1 - rate)
            for arm, rate in ((control, p), (treatment, p + margin))
        )

    p = minimize_scalar(
        minus_log_likelihood,
        bounds=(max(0.0, -margin), min(1.0, 1 - margin)),
        method="bounded",
        options={"xatol": 1e-11},
    ).x
    q = p + margin
    error = math.sqrt(p * (1 - p) / control.total + q * (1 - q) / treatment.total)
    z = (treatment.events / treatment.total - control.events / control.total - margin) / error

    found = z_test(control, treatment, margin=margin, alternative=Alternative.GREATER)

    assert found.statistic == pytest.approx(z, rel=1e-5)
    assert found.p_value == pytest.approx(scipy_stats.norm.sf(z), rel=1e-3)


@pytest.mark.parametrize("pair", ORDINARY)
def test_the_interval_of_a_difference_is_newcombes(pair: tuple[Counts, Counts]) -> None:
    control, treatment = pair
    low, high = confint_proportions_2indep(
        treatment.events, treatment.total, control.events, control.total, method="newcomb"
    )

    found = z_test(control, treatment).interval

    assert found == newcombe(control, treatment)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-12)


def test_the_interval_of_a_rate_is_wilsons() -> None:
    found = wilson(Counts(40, 3), alpha=0.1)

    assert found is not None
    assert (found.low, found.high) == pytest.approx(proportion_confint(3, 40, alpha=0.1, method="wilson"), rel=1e-10)
    assert wilson(Counts(0, 0)) is None


@pytest.mark.parametrize(
    ("alternative", "sides"),
    [(Alternative.TWO_SIDED, (True, True)), (Alternative.GREATER, (True, False)), (Alternative.LESS, (False, True))],
)
def test_a_one_sided_question_has_a_one_sided_interval(alternative: Alternative, sides: tuple[bool, bool]) -> None:
    interval = z_test(*ORDINARY[0], alternative=alternative).interval

    assert interval is not None
    assert (interval.low is not None, interval.high is not None) == sides


@pytest.mark.parametrize(("seed", "alternative", "margin"), list(product(range(3), Alternative, [0.0, 0.4])))
def test_welch_equals_scipy(seed: int, alternative: Alternative, margin: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.gamma(0.5, 8, size=7 + 400 * seed), rng.gamma(0.7, 6, size=12 + 90 * seed)
    expected = scipy_stats.ttest_ind(b, a + margin, equal_var=False, alternative=alternative.value)
    limits = expected.confidence_interval(0.95)

    found = welch(
        *(mean_of(Sums(len(v), float(v.sum()), float((v * v).sum()))) for v in (a, b)),
        alternative=alternative,
        margin=margin,
    )

    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval is not None
    for ours, theirs in ((found.interval.low, limits.low), (found.interval.high, limits.high)):
        assert (ours is None) == math.isinf(theirs)
        assert ours is None or ours == pytest.approx(theirs + margin, rel=1e-9)


def test_the_interval_of_a_lift_covers_the_true_lift() -> None:
    """5,000 repetitions: the nominal 95 % is met within 1 point."""
    rng = np.random.default_rng(5)
    covered = 0
    for control, treatment in zip(rng.binomial(4000, 0.05, 5000), rng.binomial(4000, 0.06, 5000), strict=True):
        found = relative(rate_of(Counts(4000, int(control))), rate_of(Counts(4000, int(treatment))))
        covered += contains(found, 0.2)

    assert covered / 5000 == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (z_test(Counts(0, 0), Counts(5, 1)), "an arm is empty"),
        (z_test(Counts(5, 0), Counts(5, 0)), "nobody or everybody"),
        (welch(Mean(0, reason="an arm needs at least 2 units"), Mean(9, 1.0, 1.0)), "at least 2 units"),
        (welch(mean_of(Sums(1, 5.0, 25.0)), Mean(9, 1.0, 1.0)), "at least 2 units"),
        (welch(Mean(9, 1.0, 0.0), Mean(9, 2.0, 0.0)), "does not vary"),
        (welch(Mean(2, 0.0, 1e308), Mean(2, 1.7976931348623157e308, 0.0), alpha=1e-300), "too wide"),
        (welch(Mean(2, -1e308, 1.0), Mean(2, 1e308, 1.0)), "too large"),
        (welch(mean_of(Sums(2, 1e300, math.inf)), Mean(9, 2.0, 0.0)), "too large to compute"),
    ],
)
def test_what_cannot_be_computed_says_why(found: Comparison, reason: str) -> None:
    assert found.p_value is found.interval is found.statistic is None
    assert found.reason is not None
    assert reason in found.reason


def test_the_estimate_stands_where_only_the_test_is_undefined() -> None:
    assert welch(Mean(9, 4.0, 0.0), Mean(9, 5.0, 0.0)).lift == 0.25


def test_there_is_no_lift_over_nothing() -> None:
    found = z_test(Counts(100, 0), Counts(100, 9))

    assert found.lift is None
    assert found.reason == "control's value is 0: there is no lift"
    assert found.p_value == pytest.approx(0.0021415, abs=1e-7)


@pytest.mark.parametrize("arms", [(Mean(9, 0.0, 1.0), Mean(9, 1.0, 1.0)), (Mean(2, 1e-200, 1.0), Mean(9, 1.0, 1.0))])
def test_a_lift_without_an_interval_is_none(arms: tuple[Mean, Mean]) -> None:
    assert relative(*arms) is None
    assert newcombe(Counts(0, 0), Counts(1, 1)) is None


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(InvalidValue, match="events is 6; it must be from 0 to total"):
        Counts(5, 6)
    with pytest.raises(InvalidValue, match="margin is 1"):
        z_test(*ORDINARY[0], margin=1)
    with pytest.raises(InvalidValue, match="alpha is 0"):
        z_test(*ORDINARY[0], alpha=0)


def test_counts_add_up() -> None:
    assert Counts(3, 1) + Counts(4, 2) == Counts(7, 3)
    assert (Counts(4, 1).rate, Counts(0, 0).rate) == (0.25, None)


@given(counts(), counts(), st.sampled_from(Alternative), st.floats(-0.999, 0.999))
def test_rates_of_any_size_give_numbers_or_a_reason(c: Counts, t: Counts, side: Alternative, margin: float) -> None:
    found = z_test(c, t, alternative=side, margin=margin)

    assert every_number_is_finite(found)
    assert found.p_value is None or 0 <= found.p_value <= 1
    assert (None in (found.p_value, found.lift)) == (found.reason is not None)


@given(means(), means(), st.sampled_from(Alternative))
def test_means_of_any_size_give_numbers_or_a_reason(c: Mean, t: Mean, side: Alternative) -> None:
    found = welch(c, t, alternative=side)

    assert every_number_is_finite(found)
    assert every_number_is_finite(relative(c, t))
    assert found.p_value is None or 0 <= found.p_value <= 1
    assert (None in (found.p_value, found.lift)) == (found.reason is not None)


@given(counts())
def test_wilson_holds_the_rate_between_0_and_1(arm: Counts) -> None:
    found = wilson(arm)

    assert found is None or (arm.rate is not None and contains(found, arm.rate) and contains(Interval(0, 1), found.low))
