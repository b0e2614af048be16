"""Barnard's test equals scipy's, and keeps its level where the z-test does not."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from scipy.stats import barnard_exact, binom

from quadra_matrix.stats.arms import Alternative, Counts
from quadra_matrix.stats.exact import barnard
from quadra_matrix.stats.fixed import z_test
from tests.stats.numbers import counts, every_number_is_finite


@pytest.mark.parametrize("alternative", Alternative)
@pytest.mark.parametrize(
    "pair",
    [
        (Counts(7, 1), Counts(6, 5)),
        (Counts(20, 8), Counts(12, 1)),
        (Counts(10, 5), Counts(8, 4)),
        (Counts(43, 2), Counts(9, 3)),
        (Counts(60, 0), Counts(60, 6)),
    ],
)
def test_barnard_equals_scipy(pair: tuple[Counts, Counts], alternative: Alternative) -> None:
    control, treatment = pair
    table = [
        [treatment.events, control.events],
        [treatment.total - treatment.events, control.total - control.events],
    ]
    expected = barnard_exact(table, alternative=alternative.value, pooled=True, n=256)

    found = barnard(control, treatment, alternative=alternative)

    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=2e-4)


def test_barnard_keeps_its_level_where_the_z_test_does_not() -> None:
    """12 against 30 users: the true chance of p < 5 % at every common rate, summed over all outcomes."""
    outcomes = list(product(range(13), range(31)))
    worst = {}
    for test in (barnard, z_test):
        found = {(a, b): test(Counts(12, a), Counts(30, b)).p_value for a, b in outcomes}
        called = [outcome for outcome, p_value in found.items() if p_value is not None and p_value < 0.05]
        worst[test] = max(
            sum(binom.pmf(a, 12, rate) * binom.pmf(b, 30, rate) for a, b in called)
            for rate in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
        )

    assert worst[barnard] <= 0.05 < worst[z_test]


def test_an_outcome_and_its_mirror_image_are_equally_extreme() -> None:
    """By hand: 158 of 4,096 outcomes of 7 and 5 fair coins. Rounding loses the mirror image in scipy 1.17 (0.0315)."""
    assert barnard(Counts(7, 1), Counts(5, 4)).p_value == pytest.approx(158 / 4096)


def test_above_a_thousand_users_the_z_test_answers() -> None:
    control, treatment = Counts(600, 20), Counts(600, 40)

    assert barnard(control, treatment) == z_test(control, treatment)


def test_nothing_to_compare_is_said_as_by_the_z_test() -> None:
    assert barnard(Counts(5, 0), Counts(5, 0)).reason == z_test(Counts(5, 0), Counts(5, 0)).reason


@given(counts(40), counts(40))
def test_any_small_counts_give_a_p_value_or_a_reason(control: Counts, treatment: Counts) -> None:
    found = barnard(control, treatment)

    assert every_number_is_finite(found)
    assert found.p_value is None or 0 <= found.p_value <= 1
