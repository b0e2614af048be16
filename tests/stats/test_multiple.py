"""Corrections for many questions equal statsmodels'."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.multiple import benjamini_hochberg, e_benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=20)  # statsmodels collects garbage at every call of holm
@given(p_values)
def test_holm_equals_statsmodels(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1], rel=1e-12)


@given(p_values)
def test_benjamini_hochberg_equals_statsmodels(values: list[float]) -> None:
    assert benjamini_hochberg(values) == pytest.approx(multipletests(values, method="fdr_bh")[1], rel=1e-12)


def test_e_values_refute_up_to_the_last_that_is_large_enough() -> None:
    """Of 4 at 5 %: the best must reach 80, the second 40, the third 26.7, the last 20."""
    logs = [math.log(value) for value in (30, 1, 41, 70)]

    assert e_benjamini_hochberg(logs) == (True, False, True, True)
    assert e_benjamini_hochberg([math.log(value) for value in (29, 1, 41)]) == (False, False, False)


def test_no_questions_need_no_correction() -> None:
    assert holm([]) == benjamini_hochberg([]) == e_benjamini_hochberg([]) == ()


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_is_no_p_value_is_refused(correct: object) -> None:
    assert callable(correct)
    with pytest.raises(InvalidValue, match="from 0 to 1"):
        correct([0.5, math.nan])
    with pytest.raises(InvalidValue, match="alpha is 0"):
        e_benjamini_hochberg([1.0], alpha=0)
