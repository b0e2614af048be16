"""The split check: known p-values, true at every look, and quick about a real imbalance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.ratio import SampleRatio, chi_square, update
from tests.stats.numbers import every_number_is_finite


def share_of_alarms(truth: list[float], shares: tuple[float, ...], *, runs: int = 200) -> float:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(runs):
        state = SampleRatio(shares)
        for _ in range(100):
            state = update(state, [int(n) for n in rng.multinomial(500, truth)])
        alarms += state.evidence.rejects(0.01)
    return alarms / runs


def test_chi_square_equals_scipy() -> None:
    found = chi_square([480, 530, 90], [0.45, 0.45, 0.1])
    expected = chisquare([480, 530, 90], [495, 495, 110])

    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


def test_chi_square_of_too_few_users_says_why() -> None:
    assert chi_square([3, 4], [0.5, 0.5]).reason == "an arm expects fewer than 5 users"


def test_a_right_split_raises_hardly_any_alarm_over_100_looks() -> None:
    assert share_of_alarms([0.9, 0.1], (0.9, 0.1)) <= 0.01


def test_a_split_two_points_off_is_found() -> None:
    assert share_of_alarms([0.52, 0.48], (0.5, 0.5), runs=50) >= 0.95


def test_the_evidence_averages_1_under_the_design() -> None:
    shares, total = (0.2, 0.8), 40

    average = sum(
        math.comb(total, x)
        * shares[0] ** x
        * shares[1] ** (total - x)
        * update(SampleRatio(shares), (x, total - x)).evidence.e_value
        for x in range(total + 1)
    )

    assert average == pytest.approx(1.0, rel=1e-9)


def test_users_add_up_over_looks() -> None:
    at_once = update(SampleRatio((0.5, 0.5)), (30, 50))
    in_steps = update(update(SampleRatio((0.5, 0.5)), (10, 0)), (20, 50))

    assert in_steps.users == (30, 50)
    assert in_steps.evidence.log_e == pytest.approx(at_once.evidence.log_e)


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.4), (0.0, 1.0)])
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InvalidValue, match="shares is"):
        SampleRatio(shares)


@pytest.mark.parametrize("users", [(1,), (1, -1)])
def test_impossible_users_are_refused(users: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValue, match="users is"):
        update(SampleRatio((0.5, 0.5)), users)


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=5), st.floats(1e-6, 1.0))
def test_any_users_give_numbers(users: list[int], weight: float) -> None:
    weights = [weight, *[1.0] * (len(users) - 1)]
    shares = tuple(each / sum(weights) for each in weights)

    assert every_number_is_finite(update(SampleRatio(shares), users))
    assert every_number_is_finite(chi_square(users, shares))
