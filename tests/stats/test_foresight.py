"""What a plan promises is what a simulated rollout does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.foresight import chance_to_find, detectable_ratio
from quadra_matrix.stats.risk import RiskEvidence, less_than, update, worse_than


def simulated(
    test: RiskEvidence, ratio: float, baseline: float, *, control: int, treatment: int, dispersion: float = 1.0
) -> float:
    """Return the share of 400 steps of 24 ticks in which the test refutes its null at any tick."""
    rng = np.random.default_rng(21)
    found = 0
    for _ in range(400):
        state = test
        for _ in range(24):
            stable, canary = control // 24, treatment // 24
            state = update(
                state,
                Counts(stable, int(rng.binomial(stable, baseline))),
                Counts(canary, int(rng.binomial(canary, ratio * baseline))),
                dispersion=dispersion,
            )
        found += state.evidence.rejects(0.01)
    return found / 400


@pytest.mark.parametrize(
    ("test", "ratio", "baseline", "traffic"),
    [
        (worse_than(), 5.0, 0.01, (1080, 120)),
        (worse_than(), 2.0, 0.01, (4500, 1500)),
        (worse_than(), 10.0, 0.001, (3000, 3000)),
        (worse_than(1.2), 1.8, 0.05, (30_000, 3_000)),
        (less_than(), 1.0, 0.01, (9000, 3000)),
    ],
)
def test_the_chance_is_within_10_points_of_a_simulation(
    test: RiskEvidence, ratio: float, baseline: float, traffic: tuple[int, int]
) -> None:
    control, treatment = traffic

    foreseen = chance_to_find(test, ratio, baseline, control=control, treatment=treatment)

    assert foreseen == pytest.approx(simulated(test, ratio, baseline, control=control, treatment=treatment), abs=0.10)


def test_dispersion_is_part_of_the_plan() -> None:
    foreseen = chance_to_find(worse_than(), 4.0, 0.02, control=2400, treatment=600, dispersion=2.5)

    assert foreseen == pytest.approx(
        simulated(worse_than(), 4.0, 0.02, control=2400, treatment=600, dispersion=2.5), abs=0.10
    )


def test_the_detectable_ratio_is_found_with_the_power_asked_for() -> None:
    ratio = detectable_ratio(worse_than(), 0.01, control=5400, treatment=600)

    assert ratio is not None
    assert chance_to_find(worse_than(), ratio, 0.01, control=5400, treatment=600) == pytest.approx(0.8, abs=0.01)


def test_more_traffic_detects_less() -> None:
    ratios = [detectable_ratio(worse_than(), 0.01, control=9 * n, treatment=n) for n in (100, 1000, 10_000)]

    assert None not in ratios
    assert ratios == sorted(ratios, reverse=True, key=lambda ratio: ratio or 0)


@pytest.mark.parametrize("traffic", [(0, 100), (100, 0), (5, 1)])
def test_too_little_traffic_detects_nothing(traffic: tuple[int, int]) -> None:
    assert detectable_ratio(worse_than(), 0.01, control=traffic[0], treatment=traffic[1]) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: chance_to_find(worse_than(), 2.0, 0.0, control=1, treatment=1),
        lambda: chance_to_find(worse_than(), 0.0, 0.1, control=1, treatment=1),
        lambda: chance_to_find(worse_than(), 2.0, 0.1, control=1, treatment=1, alpha=1.0),
        lambda: detectable_ratio(less_than(), 0.1, control=1, treatment=1),
    ],
)
def test_impossible_plans_are_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(InvalidValue):
        build()


@settings(max_examples=25)
@given(st.floats(1e-9, 1, exclude_max=True), st.floats(1e-3, 1e6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_any_traffic_gives_a_chance(baseline: float, ratio: float, control: int, treatment: int) -> None:
    for test in (worse_than(), less_than()):
        assert 0 <= chance_to_find(test, ratio, baseline, control=control, treatment=treatment) <= 1
