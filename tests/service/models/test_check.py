"""When the export is faithful enough to serve."""

from __future__ import annotations

import numpy as np
import pytest

from quadra_matrix.service.models.check import compare, not_exported
from quadra_matrix.store.models import Task


def test_equal_scores_serve() -> None:
    found = compare(Task.CLASSIFICATION, np.eye(3), np.eye(3), spread=1, tolerance=1e-5)

    assert (found.rows, found.max_difference, found.label_flips, found.reason) == (3, 0.0, 0, "")


def test_a_flipped_label_does_not_serve_however_small_the_difference() -> None:
    original, exported = np.array([[0.5, 0.5 - 1e-12]]), np.array([[0.5 - 1e-12, 0.5]])

    found = compare(Task.CLASSIFICATION, original, exported, spread=1, tolerance=1e-5)

    assert (found.label_flips, found.reason) == (1, "1 of 1 labels differ")


def test_a_regression_is_judged_beside_the_spread_of_its_target() -> None:
    original, exported = np.array([[1e6], [3e6]]), np.array([[1e6 + 1], [3e6]])

    wide = compare(Task.REGRESSION, original, exported, spread=1e6, tolerance=1e-5)
    narrow = compare(Task.REGRESSION, original, exported, spread=10.0, tolerance=1e-5)

    assert (wide.max_difference, wide.reason) == (pytest.approx(1e-6), "")
    assert narrow.reason == "scores differ by up to 0.1; at most 1e-05 is served"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_scores_that_are_no_numbers_do_not_serve(broken: float) -> None:
    found = compare(Task.REGRESSION, np.array([[1.0]]), np.array([[broken]]), spread=1, tolerance=1e-5)

    assert (found.max_difference, "differ" in found.reason) == (None, True)


def test_a_missing_export_says_why() -> None:
    assert not_exported(5, "no converter").reason == "no export: no converter"
