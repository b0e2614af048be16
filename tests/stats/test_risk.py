"""The canary's test: rarely wrong about a healthy version at any look, soon right about a bad one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.risk import (
    UNKNOWN_DISPERSION,
    RiskEvidence,
    bounds,
    dispersion_of,
    less_than,
    log_grid,
    update,
    worse_than,
)
from tests.stats.numbers import contains, counts, every_number_is_finite


def watched(
    state: RiskEvidence, rng: np.random.Generator, *, requests: tuple[int, int], risks: tuple[float, float], ticks: int
) -> RiskEvidence:
    """Look at every tick of a stable and a canary version with constant risks."""
    for _ in range(ticks):
        stable, canary = (Counts(n, int(rng.binomial(n, risk))) for n, risk in zip(requests, risks, strict=True))
        state = update(state, stable, canary)
    return state


def share_rejected(start: RiskEvidence, *, risks: tuple[float, float], alpha: float, runs: int = 400) -> float:
    rng = np.random.default_rng(11)
    ended = [watched(start, rng, requests=(225, 25), risks=risks, ticks=100) for _ in range(runs)]
    return sum(state.evidence.rejects(alpha) for state in ended) / runs


def test_a_healthy_version_is_rarely_called_worse_at_any_of_100_looks() -> None:
    assert share_rejected(worse_than(), risks=(0.01, 0.01), alpha=0.05) <= 0.05


def test_a_version_at_the_margin_is_rarely_called_worse() -> None:
    assert share_rejected(worse_than(1.5), risks=(0.01, 0.015), alpha=0.05) <= 0.05


def test_a_version_twice_as_bad_is_rarely_called_less_than_twice_as_bad() -> None:
    assert share_rejected(less_than(2.0), risks=(0.01, 0.02), alpha=0.05) <= 0.05


def test_a_version_five_times_as_bad_is_found() -> None:
    assert share_rejected(worse_than(), risks=(0.01, 0.05), alpha=0.01, runs=100) >= 0.98


def test_a_good_version_is_cleared() -> None:
    assert share_rejected(less_than(2.0), risks=(0.05, 0.05), alpha=0.05, runs=100) >= 0.9


def test_a_shared_outage_cancels() -> None:
    state = update(worse_than(), Counts(900, 900), Counts(100, 100))

    assert not state.evidence.rejects(0.05)


def test_one_tick_is_the_average_likelihood_ratio() -> None:
    """By hand: 3 of 4 events are the canary's at a tenth of the traffic; ratios 2 and 10."""
    state = update(worse_than(ratios=(2.0, 10.0)), Counts(90, 1), Counts(10, 3))

    share = [r * 10 / (r * 10 + 90) for r in (1, 2, 10)]
    ratios = [(s / share[0]) ** 3 * (1 - s) / (1 - share[0]) for s in share[1:]]
    assert state.evidence.e_value == pytest.approx(sum(ratios) / 2)


def test_dispersion_divides_what_a_tick_says() -> None:
    tick = Counts(90, 1), Counts(10, 3)
    plain, clumped = (update(worse_than(ratios=(5.0,)), *tick, dispersion=phi) for phi in (1.0, 2.5))

    assert clumped.evidence.log_e == pytest.approx(plain.evidence.log_e / 2.5)


def test_a_tick_without_traffic_on_one_side_says_nothing() -> None:
    start = worse_than()

    assert update(start, Counts(0, 0), Counts(10, 10)) is start
    assert update(start, Counts(10, 10), Counts(0, 0)) is start


def test_the_peak_is_kept_when_the_evidence_falls() -> None:
    state = update(worse_than(ratios=(5.0,)), Counts(90, 0), Counts(10, 5))
    later = update(state, Counts(900, 50), Counts(100, 0))

    assert later.evidence.log_e < state.evidence.log_e == later.evidence.peak
    assert later.evidence.p_value == pytest.approx(1 / state.evidence.e_value)


def test_dispersion_of_poisson_ticks_is_about_1_and_of_bursts_far_above() -> None:
    rng = np.random.default_rng(3)
    calm = [Counts(500, int(rng.poisson(5))) for _ in range(400)]
    bursts = [Counts(500, int(rng.poisson(5 if i % 10 else 60))) for i in range(400)]

    assert dispersion_of(calm) == pytest.approx(1.0, abs=0.15)
    assert dispersion_of(bursts) > 10
    assert dispersion_of(bursts, pessimistic=True) == pytest.approx(2 * dispersion_of(bursts) - 1)


def test_bursts_corrected_by_stables_history_are_not_called_worse() -> None:
    """Independent bursts on both versions: without the correction more than a tenth of healthy canaries fail."""
    rng = np.random.default_rng(8)

    def tick(n: int) -> Counts:
        risk = 0.01 if rng.random() < 0.97 else 0.2
        return Counts(n, int(rng.binomial(n, risk)))

    wrong = {False: 0, True: 0}
    for _ in range(150):
        phi = dispersion_of([tick(225) for _ in range(60)])
        looks = [(tick(225), tick(25)) for _ in range(100)]
        for corrected in wrong:
            state = worse_than()
            for stable, canary in looks:
                state = update(state, stable, canary, dispersion=phi if corrected else 1.0)
            wrong[corrected] += state.evidence.rejects(0.01)

    assert wrong[False] / 150 > 0.1
    assert wrong[True] / 150 <= 0.03


@pytest.mark.parametrize("history", [[], [Counts(10, 1)] * 5, [Counts(10, 0)] * 9, [Counts(0, 0)] * 9])
def test_dispersion_of_a_short_or_eventless_history_is_assumed(history: list[Counts]) -> None:
    assert dispersion_of(history) == UNKNOWN_DISPERSION


def test_bounds_hold_at_every_look() -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(300):
        seen = Counts(0, 0)
        outside = False
        for _ in range(60):
            seen += Counts(50, int(rng.binomial(50, 0.02)))
            found = bounds(seen, alpha=0.1)
            outside |= not contains(found, 0.02)
        missed += outside

    assert missed / 300 <= 0.1


def test_bounds_end_where_the_mixture_says() -> None:
    found = bounds(Counts(1000, 20), alpha=0.05)

    def weight(p: float) -> float:
        beta = math.lgamma(20.5) + math.lgamma(1030) - math.lgamma(1050.5)
        prior = math.lgamma(0.5) + math.lgamma(50) - math.lgamma(50.5)
        return math.exp(beta - prior - 20 * math.log(p) - 980 * math.log1p(-p))

    assert [weight(p) for p in (found.low, found.high) if p] == pytest.approx([20, 20])


def test_the_grid_is_even_on_a_logarithmic_scale() -> None:
    assert log_grid(1, 100, 3) == pytest.approx((1, 10, 100))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: worse_than(0.0), "margin is 0.0; it must be above 0"),
        (lambda: worse_than(ratios=()), "ratios is"),
        (lambda: less_than(1.0), "ratios is .* all above, or all below 1.0"),
        (lambda: log_grid(3, 2), "low is 3"),
        (lambda: log_grid(1, 2, 1), "points is 1"),
        (lambda: RiskEvidence(1.0, (2.0,), ()), "one for each ratio"),
        (lambda: update(worse_than(), Counts(1, 1), Counts(1, 1), dispersion=0.5), "dispersion is 0.5"),
        (lambda: bounds(Counts(1, 1), prior=(0, 1)), "two numbers above 0"),
        (lambda: bounds(Counts(1, 1), alpha=1), "alpha is 1"),
        (lambda: worse_than().evidence.rejects(0), "alpha is 0"),
    ],
)
def test_impossible_options_are_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(InvalidValue, match=message):
        build()


@given(st.lists(st.tuples(counts(), counts()), max_size=5), st.floats(1, 1e6), st.sampled_from([worse_than, less_than]))
def test_the_evidence_is_always_a_number(ticks: list[tuple[Counts, Counts]], dispersion: float, start: object) -> None:
    assert callable(start)
    state = start()
    for control, treatment in ticks:
        state = update(state, control, treatment, dispersion=dispersion)

        assert every_number_is_finite(state)
        assert every_number_is_finite(state.evidence.e_value)
        assert 0 <= state.evidence.p_value <= 1
    assert every_number_is_finite(dispersion_of([control for control, _ in ticks]))


@given(counts(), st.floats(1e-9, 0.5))
def test_bounds_are_always_numbers_around_the_rate(seen: Counts, alpha: float) -> None:
    found = bounds(seen, alpha=alpha)

    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high <= 1
    assert seen.rate is None or contains(found, seen.rate)
