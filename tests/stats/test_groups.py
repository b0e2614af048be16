"""The group-sequential test: known bounds, all of alpha and no more, nearly the power of one look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Alternative, Interval
from quadra_matrix.stats.sequential.difference import Difference
from quadra_matrix.stats.sequential.groups import GroupSequential, bounds, interval, look, spending
from tests.stats.numbers import every_number_is_finite


def test_five_even_looks_have_the_published_bounds() -> None:
    """Lan & DeMets 1983; also in the manuals of every clinical package."""
    assert bounds((0.2, 0.4, 0.6, 0.8, 1.0)) == pytest.approx((4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4)


def test_one_look_is_the_plain_test() -> None:
    assert bounds((1.0,), alpha=0.1) == pytest.approx((1.6449,), abs=1e-4)


@pytest.mark.parametrize("fractions", [(0.5, 0.75, 1.0), (0.5, 0.501, 1.0), (0.02, 0.9, 0.93)])
def test_bounds_equal_the_multivariate_normal(fractions: tuple[float, ...]) -> None:
    """The chance of staying inside all bounds, integrated by scipy, is what has not been spent."""
    found = np.array(bounds(fractions))
    at = np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))

    inside = multivariate_normal(cov=correlation, abseps=1e-9, releps=1e-9).cdf(found, lower_limit=-found)

    assert 1 - inside == pytest.approx(2 * spending(fractions[-1], 0.025), abs=2e-5)


@pytest.mark.parametrize("alternative", Alternative)
def test_alpha_is_spent_and_not_more_over_200_looks(alternative: Alternative) -> None:
    """20,000 walks without an effect."""
    state, passed = GroupSequential(10_000, alternative=alternative), np.zeros(20_000, bool)
    score = np.zeros(20_000)
    rng = np.random.default_rng(1)
    for i in range(1, 201):
        score += rng.normal(0, 200**-0.5, 20_000)
        z = score / (i / 200) ** 0.5
        state = look(state, 50 * i, None)
        towards = {"two-sided": abs(z), "greater": z, "less": -z}[alternative.value]
        passed |= towards >= state.bound

    assert passed.mean() == pytest.approx(0.05, abs=0.006)


def test_a_look_that_reaches_its_bound_refutes_and_stays_refuted() -> None:
    state = look(GroupSequential(1000), 500, 3.2)
    later = look(state, 700, 0.1)

    assert (state.rejected, state.rejected_at) == (True, 500)
    assert later.rejected_at == 500


@pytest.mark.parametrize(
    ("alternative", "z", "rejected"),
    [
        (Alternative.TWO_SIDED, -3.2, True),
        (Alternative.GREATER, -9.0, False),
        (Alternative.GREATER, 3.2, True),
        (Alternative.LESS, -3.2, True),
        (Alternative.LESS, 9.0, False),
        (Alternative.TWO_SIDED, None, False),
    ],
)
def test_only_the_side_asked_about_counts(alternative: Alternative, z: float | None, rejected: bool) -> None:
    assert look(GroupSequential(1000, alternative=alternative), 500, z).rejected == rejected


def test_a_look_with_hardly_anyone_new_is_no_look() -> None:
    state = look(GroupSequential(10_000), 5_000, 0.0)

    assert look(state, 5_009, 9.0) is state


def test_past_the_plan_nothing_is_decided() -> None:
    state = look(GroupSequential(1000), 1000, 1.0)

    assert state.finished
    assert look(state, 2000, 9.0) is state


def test_the_look_that_passes_the_plan_spends_the_rest() -> None:
    state = look(look(GroupSequential(1000), 600, 0.0), 1300, 0.0)

    assert state.spent == 0.025
    assert state.bound < 2.3


def test_an_unplanned_first_look_can_hardly_reject() -> None:
    assert look(GroupSequential(10**6), 2000, 12.0).bound > 20


def test_the_repeated_interval_is_the_bound_in_errors() -> None:
    state = look(GroupSequential(1000), 1000, 1.0)
    seen = Difference(1000, 0.02, 0.01)

    assert interval(state, seen) == Interval(
        pytest.approx(0.02 - state.bound * 0.01), pytest.approx(0.02 + state.bound * 0.01)
    )
    assert interval(state, Difference(0, reason="an arm is empty")) is None


@pytest.mark.parametrize(("alternative", "open_side"), [(Alternative.GREATER, "high"), (Alternative.LESS, "low")])
def test_a_one_sided_interval_is_open(alternative: Alternative, open_side: str) -> None:
    found = interval(look(GroupSequential(1000, alternative=alternative), 1000, 1.0), Difference(1000, 0.02, 0.01))

    assert getattr(found, open_side) is None


def test_the_spending_ends_at_the_level() -> None:
    assert spending(1.0, 0.025) == 0.025
    assert spending(0.25, 0.025) == pytest.approx(2 * norm.sf(norm.isf(0.0125) / 0.5))


@pytest.mark.parametrize("options", [{"planned": 0}, {"planned": 5, "alpha": 1.0}])
def test_impossible_plans_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue):
        GroupSequential(**options)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3000), max_size=8), st.floats(1e-12, 0.9), st.sampled_from(Alternative))
def test_any_looks_give_numbers(steps: list[int], alpha: float, alternative: Alternative) -> None:
    state, users = GroupSequential(2000, alpha, alternative), 0
    for new in steps:
        users += new
        state = look(state, users, 1e300)

        assert every_number_is_finite(state)
        assert 0 <= state.spent <= alpha
        assert state.bound > 0 or alternative is not Alternative.TWO_SIDED
