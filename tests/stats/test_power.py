"""Sizes equal statsmodels' to 1 % and lead back to the power asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import power_proportions_2indep, samplesize_proportions_2indep_onetail

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Alternative
from quadra_matrix.stats.power import (
    GROUP_SEQUENTIAL,
    Effect,
    Question,
    Size,
    days_for,
    detectable_mean,
    detectable_rate,
    power_for_means,
    power_for_rates,
    size_for_means,
    size_for_rates,
)
from tests.stats.numbers import every_number_is_finite


@pytest.mark.parametrize(("baseline", "difference"), [(0.005, 0.001), (0.05, 0.006), (0.3, -0.02)])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_the_size_for_rates_equals_statsmodels(baseline: float, difference: float, share: float) -> None:
    ratio = (1 - share) / share
    treated = samplesize_proportions_2indep_onetail(difference, baseline, 0.8, ratio=ratio, alpha=0.05)

    size = size_for_rates(baseline, difference, Question(share=share))

    assert size.treatment == pytest.approx(treated, rel=0.01)
    assert size.users == pytest.approx(treated * (1 + ratio), rel=0.01)


@pytest.mark.parametrize("difference", [0.001, 0.006, -0.02])
def test_the_power_for_rates_equals_statsmodels(difference: float) -> None:
    expected = power_proportions_2indep(difference, 0.05, 4000, ratio=1.0, return_results=False)

    assert power_for_rates(0.05, difference, 8000) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("alternative", "name"),
    [(Alternative.TWO_SIDED, "two-sided"), (Alternative.GREATER, "larger"), (Alternative.LESS, "smaller")],
)
def test_the_power_for_means_equals_statsmodels(alternative: Alternative, name: str) -> None:
    expected = NormalIndPower().power(0.1, 700, 0.05, ratio=1.5, alternative=name)

    found = power_for_means(2.0, 0.2, 1750, Question(share=0.6, alternative=alternative))

    assert found == pytest.approx(expected, rel=1e-9)


def test_the_size_for_means_equals_statsmodels() -> None:
    expected = TTestIndPower().solve_power(effect_size=0.1, power=0.9, alpha=0.05, ratio=4.0)

    size = size_for_means(20.0, 2.0, Question(power=0.9, share=0.8))

    assert size.control == pytest.approx(expected, rel=0.01)
    assert size.treatment == pytest.approx(4 * expected, rel=0.01)


def test_a_sequential_test_needs_its_inflation_more() -> None:
    one, many = (size_for_rates(0.05, 0.005, Question(inflation=by)).users for by in (1.0, GROUP_SEQUENTIAL))

    assert one is not None
    assert many == pytest.approx(GROUP_SEQUENTIAL * one, abs=2)


@pytest.mark.parametrize("alternative", Alternative)
def test_the_detectable_effect_leads_back_to_its_size(alternative: Alternative) -> None:
    question = Question(alternative=alternative, share=0.2, inflation=GROUP_SEQUENTIAL)
    rate = detectable_rate(0.05, 30_000, question)
    mean = detectable_mean(10.0, 25.0, 30_000, question)

    assert rate.difference is not None
    assert mean.difference is not None
    assert (rate.difference < 0) == (mean.difference < 0) == (alternative is Alternative.LESS)
    assert rate.lift == pytest.approx(rate.difference / 0.05)
    assert mean.lift == pytest.approx(mean.difference / 10)
    assert size_for_rates(0.05, rate.difference, question).users == pytest.approx(30_000, rel=1e-3)
    assert size_for_means(25.0, mean.difference, question).users == pytest.approx(30_000, rel=1e-3)


def test_no_difference_is_seen_with_no_users() -> None:
    assert power_for_rates(0.05, 0.0, 1000) == pytest.approx(0.05)
    assert size_for_rates(0.05, 0.0).reason == "the difference is too small to be seen with any number of users"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (size_for_rates(0.05, -0.06), "0.05 changed by -0.06 is not a rate"),
        (detectable_rate(0.05, 4), "too few users"),
        (detectable_mean(1.0, 1.0, 0), "no users"),
        (detectable_mean(0.0, 1.0, 9), "the baseline is 0"),
        (detectable_mean(1.0, 9e299, 1, Question(share=1e-20)), "too large"),
    ],
)
def test_what_cannot_be_planned_says_why(found: Size | Effect, reason: str) -> None:
    assert found.reason is not None
    assert reason in found.reason
    assert power_for_rates(0.05, 0.96, 100) is None


def test_days_are_whole() -> None:
    assert days_for(Size(450, 551), 100) == 11
    assert days_for(Size(reason="too small"), 100) is None
    assert days_for(Size(1, 1), 0) is None
    assert days_for(Size(10**9, 10**9), 1e-300) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Question(power=0.01),
        lambda: Question(share=1.0),
        lambda: Question(inflation=0.5),
        lambda: size_for_rates(0.0, 0.1),
        lambda: size_for_means(0.0, 0.1),
        lambda: power_for_means(1.0, 0.1, -1),
        lambda: detectable_mean(1.0, 0.1, -1),
    ],
)
def test_impossible_plans_are_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(InvalidValue):
        build()


@given(
    st.floats(1e-12, 1, exclude_max=True),
    st.floats(-1e9, 1e9),
    st.integers(0, 10**15),
    st.floats(1e-6, 1 - 1e-6),
    st.sampled_from(Alternative),
)
def test_any_plan_gives_numbers_or_a_reason(
    baseline: float, difference: float, users: int, share: float, alternative: Alternative
) -> None:
    question = Question(share=share, alternative=alternative)

    assert every_number_is_finite(size_for_rates(baseline, difference, question))
    assert every_number_is_finite(power_for_rates(baseline, difference, users, question))
    assert every_number_is_finite(detectable_rate(baseline, users, question))
    assert every_number_is_finite(size_for_means(baseline, difference, question))
    assert every_number_is_finite(power_for_means(baseline, difference, users, question))
    assert every_number_is_finite(detectable_mean(difference, baseline, users, question))
