"""The machine, step by step."""

from __future__ import annotations

import pytest

from quadra_matrix.breaker.machine import Backoff, Mode, Policy, State
from quadra_matrix.breaker.window import FailureRate, SlowCallRate
from quadra_matrix.errors import InvalidValue
from tests.breaker.bench import Bench


def opened(policy: Policy, *, chance: float = 0.0) -> Bench:
    bench = Bench(policy, chance=chance)
    bench.fail()
    assert bench.state() is State.OPEN
    return bench


ONE = Policy(failure_threshold=1, recovery_timeout=10)


def test_opens_at_the_threshold_of_failures_in_a_row() -> None:
    bench = Bench(Policy(failure_threshold=3))

    for outcome in (bench.fail, bench.fail, bench.succeed, bench.fail, bench.fail):
        outcome()
        assert bench.state() is State.CLOSED
    bench.fail()

    assert bench.state() is State.OPEN


def test_refuses_until_the_open_time_is_over_then_lets_one_probe_through() -> None:
    bench = opened(ONE)

    bench.now += 9.9
    assert bench.admit() is None
    bench.now += 0.1
    assert bench.admit() is not None
    assert bench.state() is State.HALF_OPEN
    assert bench.admit() is None


def test_a_successful_probe_closes() -> None:
    bench = opened(ONE)
    bench.now += 10

    bench.succeed()

    assert bench.state() is State.CLOSED
    assert [move.after for move in bench.machine.moves] == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_a_failed_probe_reopens_for_a_whole_open_time() -> None:
    bench = opened(ONE)
    bench.now += 10

    bench.fail()

    assert bench.state() is State.OPEN
    assert bench.opened_for() == 10


def test_a_released_probe_gives_its_permit_back_without_a_verdict() -> None:
    bench = opened(ONE)
    bench.now += 10
    bench.machine.release(bench.admitted())

    assert bench.state() is State.HALF_OPEN
    assert bench.admit() is not None


def test_a_probe_past_its_deadline_loses_its_permit_and_its_voice() -> None:
    bench = opened(Policy(failure_threshold=1, recovery_timeout=10, probe_timeout=3))
    bench.now += 10
    lost = bench.admitted()

    bench.now += 2.9
    assert bench.admit() is None
    bench.now += 0.1
    probe = bench.admitted()
    bench.succeed(lost)
    assert bench.state() is State.HALF_OPEN
    bench.succeed(probe)

    assert bench.state() is State.CLOSED


def test_several_permits_are_all_that_is_let_through() -> None:
    bench = opened(Policy(failure_threshold=1, recovery_timeout=10, half_open_permits=3))
    bench.now += 10

    tickets = [bench.admit() for _ in range(32)]

    assert sum(ticket is not None for ticket in tickets) == 3
    assert len({ticket for ticket in tickets if ticket is not None}) == 3


def test_the_trial_closes_as_soon_as_enough_have_succeeded() -> None:
    bench = opened(Policy(failure_threshold=1, recovery_timeout=10, success_threshold=2, trial_calls=4))
    bench.now += 10

    bench.succeed()
    bench.fail()
    assert bench.state() is State.HALF_OPEN
    bench.succeed()

    assert bench.state() is State.CLOSED


def test_the_trial_reopens_as_soon_as_too_many_have_failed() -> None:
    bench = opened(Policy(failure_threshold=1, recovery_timeout=10, success_threshold=2, trial_calls=3))
    bench.now += 10

    bench.fail()
    assert bench.state() is State.HALF_OPEN
    bench.fail()

    assert bench.state() is State.OPEN


def test_a_slow_probe_does_not_close() -> None:
    bench = opened(Policy(failure_threshold=1, rules=[SlowCallRate(0.5, slower_than=2, calls=10)], recovery_timeout=10))
    bench.now += 10

    bench.succeed(elapsed=2)

    assert bench.state() is State.OPEN


def test_late_results_change_nothing() -> None:
    bench = Bench(Policy(failure_threshold=2, recovery_timeout=10))
    late = bench.admitted()
    bench.fail()
    bench.fail()
    before = bench.machine.dump()

    bench.fail(late)
    bench.succeed(late)
    bench.machine.release(late)

    assert bench.machine.dump() == before


def test_rules_combine_and_the_first_broken_one_is_named() -> None:
    policy = Policy(failure_threshold=None, rules=[FailureRate(0.5, calls=10, minimum=4), FailureRate(0.9, seconds=60)])
    bench = Bench(policy)

    for outcome in (bench.fail, bench.succeed, bench.fail):
        outcome()
        assert bench.state() is State.CLOSED
    bench.succeed()

    assert bench.machine.moves[-1].because == "50% of the last 10 calls failed"
    assert bench.machine.moves[-1].failures == 2


def test_the_open_time_grows_is_capped_and_decays_while_healthy() -> None:
    policy = Policy(
        failure_threshold=1, recovery_timeout=10, backoff=Backoff(multiplier=3, cap=80, jitter=0, decay=100)
    )
    bench = opened(policy)
    waits = [bench.opened_for()]
    for _ in range(3):
        bench.now = bench.machine.until
        bench.fail()
        waits.append(bench.opened_for())
    bench.now = bench.machine.until
    bench.succeed()
    bench.now += 250
    bench.fail()

    assert waits == [10, 30, 80, 80]
    assert bench.opened_for() == 80  # 4 openings less 2 decays: 10 * 3 ** 2 is above the cap


def test_decay_takes_the_growth_back() -> None:
    policy = Policy(failure_threshold=1, recovery_timeout=10, backoff=Backoff(multiplier=2, jitter=0, decay=100))
    bench = opened(policy)
    bench.now = bench.machine.until
    bench.succeed()
    bench.now += 100

    bench.fail()

    assert bench.opened_for() == 10


def test_jitter_takes_a_share_of_the_wait() -> None:
    assert opened(Policy(failure_threshold=1, backoff=Backoff(jitter=0.5)), chance=0.5).opened_for() == 45


def test_the_dependency_may_ask_for_its_own_open_time() -> None:
    bench = Bench(Policy(failure_threshold=1, recovery_timeout=10))

    bench.fail(open_for=120)

    assert bench.opened_for() == 120


@pytest.mark.parametrize(("asked", "given"), [(-5, 0), (1e9, 600)])
def test_an_open_time_from_outside_stays_within_limits(asked: float, given: float) -> None:
    bench = Bench(Policy(failure_threshold=1, recovery_timeout=10))

    bench.fail(open_for=asked)

    assert bench.opened_for() == given


def test_the_cap_of_the_backoff_also_binds_the_dependency() -> None:
    bench = Bench(Policy(failure_threshold=1, backoff=Backoff(cap=60)))

    bench.fail(open_for=120)

    assert bench.opened_for() == 60


def test_forced_open_refuses_for_ever_and_names_no_wait() -> None:
    bench = Bench(ONE)

    bench.machine.override(Mode.FORCED_OPEN, bench.now)
    bench.now += 1e9

    assert bench.admit() is None
    assert bench.machine.retry_after(bench.now) is None


def test_disabled_admits_and_judges_nothing() -> None:
    bench = Bench(ONE)
    bench.machine.override(Mode.DISABLED, bench.now)

    bench.fail()
    bench.succeed()

    assert bench.state() is State.CLOSED
    assert bench.machine.calm == bench.machine.era


def test_an_override_begins_a_new_era() -> None:
    bench = Bench(ONE)
    late = bench.admitted()

    bench.machine.override(Mode.AUTOMATIC, bench.now)
    bench.fail(late)

    assert bench.state() is State.CLOSED
    assert bench.machine.moves[-1].by_operator


def test_reset_forgets_earlier_openings_and_close_does_not() -> None:
    policy = Policy(failure_threshold=1, recovery_timeout=10, backoff=Backoff(jitter=0))
    closed, reset = opened(policy), opened(policy)

    closed.machine.override(Mode.AUTOMATIC, closed.now)
    reset.machine.reset(reset.now)
    closed.fail()
    reset.fail()

    assert (closed.opened_for(), reset.opened_for()) == (20, 10)


def test_a_circuit_may_start_forced_open() -> None:
    assert Bench(Policy(mode=Mode.FORCED_OPEN)).admit() is None


def test_retry_after_counts_down_to_the_open_time_then_to_the_lost_probe() -> None:
    bench = opened(Policy(failure_threshold=1, recovery_timeout=10, probe_timeout=3))
    bench.now += 4
    assert bench.machine.retry_after(bench.now) == 6
    bench.now += 6
    bench.admitted()
    bench.now += 1

    assert bench.machine.retry_after(bench.now) == 2


def test_windows_of_other_rules_start_empty_after_load() -> None:
    before = Bench(Policy(failure_threshold=None, rules=[FailureRate(0.5, calls=10, minimum=2)]))
    before.fail()
    after = Bench(Policy(failure_threshold=None, rules=[FailureRate(0.9, calls=10, minimum=2)]))

    after.machine.load(before.machine.dump())

    assert after.machine.dump()["tallies"] == [[]]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"failure_threshold": 0}, "failure_threshold"),
        ({"failure_threshold": None}, "rules"),
        ({"recovery_timeout": 0}, "recovery_timeout"),
        ({"recovery_timeout": float("inf")}, "recovery_timeout"),
        ({"success_threshold": 0}, "success_threshold"),
        ({"success_threshold": 3, "trial_calls": 2}, "trial_calls"),
        ({"half_open_permits": 0}, "half_open_permits"),
        ({"probe_timeout": 0.0}, "probe_timeout"),
    ],
)
def test_a_bad_policy_is_refused_by_name(options: dict[str, float], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        Policy(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"multiplier": 0.5}, {"cap": 0.0}, {"jitter": 2.0}, {"decay": 0.0}])
def test_a_bad_backoff_is_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        Backoff(**options)


def test_permits_that_are_forgotten_can_be_given_again() -> None:
    bench = opened(ONE)
    bench.now += 10
    bench.admitted()

    bench.machine.forget_probes()

    assert bench.admit() is not None
