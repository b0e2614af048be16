"""What the judge finds, and that it finds it no more often than it says."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from quadra_matrix.delivery.counters import Counters
from quadra_matrix.delivery.forecast import Traffic, forecast, poisson
from quadra_matrix.delivery.judge import Tick, knowing, look, new_step, verdict
from quadra_matrix.delivery.model import Finding, Memory, Verdict
from quadra_matrix.delivery.plan import Limits, Metric, Plan, Step
from quadra_matrix.stats.arms import Counts

ERRORS_ONLY = Plan(limits=Limits(latency=False))


def tick(stable: tuple[int, int], candidate: tuple[int, int]) -> Tick:
    return Tick(Counters(*stable), Counters(*candidate))


def after(plan: Plan, *ticks: Tick, memory: Memory | None = None) -> Verdict:
    memory = memory or Memory()
    for one in ticks:
        memory = look(memory, plan, one)
    return verdict(memory, plan)


def timed(requests: int, slower: dict[float, int]) -> Counters:
    return Counters(requests, 0, slower, timed=requests)


def test_no_requests_decide_nothing() -> None:
    found = verdict(Memory(), ERRORS_ONLY)

    assert found.finding is Finding.UNDECIDED
    assert found.because == "no requests were seen"


def test_a_candidate_without_requests_is_undecided() -> None:
    found = after(ERRORS_ONLY, tick((1000, 10), (0, 0)))

    assert found.finding is Finding.UNDECIDED
    assert "got no requests" in found.because


def test_many_more_errors_are_worse() -> None:
    found = after(ERRORS_ONLY, *[tick((900, 9), (100, 20))] * 3)

    assert found.finding is Finding.WORSE
    assert found.metrics[0].e_worse >= found.metrics[0].needed


def test_equal_rates_become_good_enough() -> None:
    assert after(ERRORS_ONLY, *[tick((500, 5), (500, 5))] * 20).finding is Finding.NOT_WORSE


def test_no_errors_at_all_become_good_enough_by_the_difference() -> None:
    found = after(ERRORS_ONLY, *[tick((500, 0), (500, 0))] * 5)

    assert found.finding is Finding.NOT_WORSE
    assert "apart" in found.because


def test_few_requests_are_undecided() -> None:
    assert "not enough requests" in after(ERRORS_ONLY, tick((10, 0), (10, 0))).because


def test_a_difference_below_the_margin_in_points_is_not_worse() -> None:
    plan = Plan(limits=Limits(latency=False, points=0.05))

    assert after(plan, *[tick((900, 9), (100, 4))] * 40).finding is not Finding.WORSE


def test_a_ratio_below_the_margin_is_not_worse() -> None:
    plan = Plan(limits=Limits(latency=False, relative=3.0, enough_ratio=6.0))

    assert after(plan, *[tick((900, 9), (100, 2))] * 60).finding is not Finding.WORSE


def test_the_guard_finds_a_candidate_that_nothing_is_compared_with() -> None:
    """Blue-green: all the traffic is on the new version."""
    found = after(ERRORS_ONLY, *[tick((0, 0), (100, 20))] * 2)

    assert found.finding is Finding.WORSE
    assert "guard" in found.because


def test_the_guard_keeps_quiet_below_its_least_number_of_errors() -> None:
    assert after(ERRORS_ONLY, tick((0, 0), (4, 4))).finding is Finding.UNDECIDED


def test_the_guard_keeps_quiet_when_stable_fails_as_much() -> None:
    assert after(ERRORS_ONLY, *[tick((500, 100), (500, 100))] * 5).finding is not Finding.WORSE


def test_the_guard_forgets_the_step_before() -> None:
    memory = Memory()
    for _ in range(3):
        memory = look(memory, ERRORS_ONLY, tick((900, 180), (100, 20)))

    fresh = new_step(memory)

    assert fresh.tallies[0].step_candidate == Counts(0, 0)
    assert fresh.tallies[0].candidate == memory.tallies[0].candidate


def test_a_late_fault_need_not_outweigh_the_good_time_before_it() -> None:
    good, bad = [tick((190, 2), (60, 1))] * 60, tick((190, 2), (60, 6))

    looks = next(n for n in range(1, 20) if after(ERRORS_ONLY, *good, *[bad] * n).finding is Finding.WORSE)

    assert looks <= 5


def test_clumps_of_stables_errors_are_discounted() -> None:
    ticks = [tick((900, 9), (100, 8))] * 2
    calm = after(ERRORS_ONLY, *ticks, memory=knowing(ERRORS_ONLY, (Counts(900, 9),) * 60))
    clumped = after(ERRORS_ONLY, *ticks, memory=knowing(ERRORS_ONLY, (Counts(900, 1), Counts(900, 90)) * 30))

    assert calm.finding is Finding.WORSE
    assert clumped.finding is not Finding.WORSE
    assert clumped.metrics[0].dispersion > 10


def test_slow_requests_are_found_by_stables_own_quantile() -> None:
    stable = timed(1000, {10.0: 100, 20.0: 40, 50.0: 5})
    slow = timed(100, {10.0: 90, 20.0: 60, 50.0: 30})

    found = after(Plan(), *[Tick(stable, slow)] * 3)

    assert found.finding is Finding.WORSE
    assert "latency" in found.because


def test_latency_may_grow_by_its_margin() -> None:
    """Stable's p95 is 20 ms; 24 ms are allowed, and the next bound above that is 50."""
    stable = timed(1000, {10.0: 100, 20.0: 40, 50.0: 40})

    found = after(Plan(), *[Tick(stable, timed(100, {10.0: 90, 20.0: 60, 50.0: 4}))] * 30)

    assert found.finding is Finding.NOT_WORSE


@pytest.mark.parametrize("slower", [{10.0: 1000}, {10.0: 40}], ids=["quantile beyond", "margin beyond"])
def test_latency_beyond_the_last_bound_says_nothing(slower: dict[float, int]) -> None:
    found = after(Plan(), *[Tick(timed(1000, slower), timed(100, {10.0: 100}))] * 30)

    assert found.finding is Finding.UNDECIDED


def test_a_counter_of_the_users_is_judged_with_its_margin() -> None:
    stable, candidate = Counters(900, 0, custom={"refunds": 9}), Counters(100, 0, custom={"refunds": 20})
    strict = Plan(limits=Limits(latency=False), metrics=(Metric("refunds"),))
    lax = Plan(limits=Limits(latency=False), metrics=(Metric("refunds", points=0.5),))

    assert "refunds" in after(strict, *[Tick(stable, candidate)] * 3).because
    assert after(lax, *[Tick(stable, candidate)] * 3).finding is not Finding.WORSE


def test_more_errors_than_requests_in_a_tick_are_taken_as_requests() -> None:
    """Counters are read an instant apart."""
    assert after(ERRORS_ONLY, tick((1, 3), (0, 2))).metrics[0].candidate == Counts(2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.06])
def test_healthy_candidates_go_back_no_more_often_than_alpha(rate: float) -> None:
    """200 rollouts at a level of 1 %: 8 or more have a chance below 1 in 1000."""
    chance, back = Random(5), 0
    for _ in range(200):
        memory = Memory()
        for _ in range(40):
            arms = [(poisson(share, chance), share) for share in (225.0, 25.0)]
            counts = [Counters(n, min(n, poisson(n * rate, chance))) for n, _ in arms]
            memory = look(memory, ERRORS_ONLY, Tick(counts[0], counts[1]))
        back += verdict(memory, ERRORS_ONLY).finding is Finding.WORSE

    assert back < 8


SIMULATED = json.loads((Path(__file__).parents[2] / "bench/results/canary_judge.json").read_text())["results"]


@pytest.mark.parametrize("base", [0.001, 0.01, 0.06])
@pytest.mark.parametrize("rate", [10.0, 50.0, 500.0])
def test_the_forecast_is_within_ten_points_of_the_simulated_judge(base: float, rate: float) -> None:
    found = forecast(Plan(), Traffic(rate, base), Random(1))[-1].caught

    for ratio, chance in found.items():
        simulated = SIMULATED[f"{base:.1%}, {rate:g} rps, {ratio:g}x"]["ours"]["back"]
        assert abs(100 * chance - simulated) <= 10, ratio


def test_the_forecast_finds_what_is_easy_and_warns_of_what_is_not() -> None:
    plan = Plan(steps=(Step(10, 60), Step(100, 60)), patience=120)

    easy = forecast(plan, Traffic(200, 0.01), Random(1))
    hard = forecast(plan, Traffic(1, 0.001), Random(1))

    assert easy[-1].caught[10.0] == 1.0
    assert easy[0].caught[2.0] <= easy[1].caught[2.0]
    assert hard[-1].caught[2.0] < 0.1
    assert hard[0].decided_after is None
