"""The benchmark's simulation, smaller: no test that is watched all the time breaks its promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.peeking import (
    AA,
    USERS,
    Cell,
    differences,
    draw,
    effect_cells,
    group_sequential,
    mean_stop,
    methods_of,
    plain,
    randomised,
    sigma_of,
    watch,
)
from quadra_matrix.stats.power import ANY_TIME, GROUP_SEQUENTIAL
from quadra_matrix.stats.sequential import groups

TESTS = 250
ALLOWED = 0.05 + 3 * (0.05 * 0.95 / TESTS) ** 0.5
"""Three standard errors above the nominal level."""

SMALLER = [Cell(cell.name, cell.rate, cell.share, cell.sigma, users=USERS // 2, looks=50) for cell in AA]


@pytest.mark.parametrize("cell", SMALLER, ids=lambda cell: cell.name)
def test_watching_an_a_a_test_rarely_decides_it(cell: Cell) -> None:
    for row in watch(cell, methods_of(cell), TESTS):
        assert row.share <= ALLOWED, row.method


def test_the_plain_z_test_would_fail_this_test() -> None:
    """The simulation can tell: what everybody watches is wrong several times too often."""
    (row,) = watch(SMALLER[1], {"z": plain}, TESTS)

    assert row.share > 3 * ALLOWED


def test_a_group_sequential_test_keeps_its_power_and_stops_early() -> None:
    cell = effect_cells()[1]

    (row,) = watch(replace(cell, looks=50), {"group-sequential": group_sequential}, TESTS)

    assert row.share >= 0.75
    assert mean_stop(row) <= 0.82


def test_without_a_plan_the_same_power_takes_the_users_that_planning_says() -> None:
    cell = effect_cells()[1]
    users = round(cell.users * ANY_TIME / GROUP_SEQUENTIAL)

    (row,) = watch(replace(cell, users=users, looks=50), {"randomisation": randomised}, TESTS)

    assert row.share == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize("sigma", [None, 1.5], ids=["rate", "revenue"])
def test_shared_bounds_decide_as_the_test_itself_does(sigma: float | None) -> None:
    """The simulation computes the bounds once for all seeds; the product's own test stops at the same look."""
    cell = Cell("with an effect", 0.05, 0.3, sigma, lift=0.3, users=20_000, looks=50)
    stops = []
    for seed in range(5):
        test = draw(cell, seed)
        state = groups.GroupSequential(cell.users)
        for i, seen in enumerate(differences(cell, test), 1):
            state = groups.look(state, i * cell.users // cell.looks, seen.z())
        stops.append(group_sequential(cell, test))

        assert state.rejected_at == (None if stops[-1] is None else (stops[-1] + 1) * cell.users // cell.looks)
    assert any(stops)


def test_the_skewness_of_the_simulated_revenue_is_as_named() -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(4_000_000) < 0.05, rng.lognormal(0, sigma_of(12, 0.05), 4_000_000), 0)

    assert ((values - values.mean()) ** 3).mean() / values.std() ** 3 == pytest.approx(12, rel=0.15)
