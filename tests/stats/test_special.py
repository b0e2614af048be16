"""Tails equal to scipy's."""

from __future__ import annotations

import pytest
from scipy import stats

from quadra_matrix.stats.special import (
    chi_square_tail,
    log_beta,
    normal_point,
    normal_tail,
    student_point,
    student_tail,
)


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 7.3, 60, 499, 501, 1e4, 1e9])
@pytest.mark.parametrize("t", [-1e3, -2.1, 0, 1e-9, 0.3, 1.96, 5.0, 30.0, 1e6, 1e200])
def test_student_tail_equals_scipy(t: float, freedom: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9, abs=1e-100)


@pytest.mark.parametrize("freedom", [1, 1.5, 7.3, 499, 501, 1e9])
@pytest.mark.parametrize("tail", [1e-8, 0.005, 0.025, 0.4])
def test_student_point_equals_scipy(tail: float, freedom: float) -> None:
    assert student_point(tail, freedom) == pytest.approx(stats.t.isf(tail, freedom), rel=1e-8)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 40])
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.5, 3.84, 50.0, 1e5])
def test_chi_square_tail_equals_scipy(x: float, freedom: int) -> None:
    assert chi_square_tail(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.96, 8.0, 37.0])
def test_normal_tail_equals_scipy(z: float) -> None:
    assert normal_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


def test_normal_point_is_the_inverse_of_the_tail() -> None:
    assert [normal_tail(normal_point(tail)) for tail in (1e-300, 1e-9, 0.025, 0.7)] == pytest.approx(
        [1e-300, 1e-9, 0.025, 0.7], rel=1e-9
    )


def test_log_beta_of_ones_is_0() -> None:
    assert log_beta(1, 1) == 0
