"""The loop on the platform in memory: good, bad, slow and undecided candidates; orders; takeovers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.engine import Engine, Ports
from quadra_matrix.delivery.model import Kind, Phase, Record, Rollout, Route
from quadra_matrix.delivery.plan import Limits, Plan, Step, StepHook, Undecided, When
from quadra_matrix.errors import LeaseLost, RolloutActive, RolloutRefused, RolloutStuck
from quadra_matrix.events.delivery import RolloutMoved, TrafficShifted
from quadra_matrix.testing import RecordingHook
from quadra_matrix.testing.delivery import Behaviour, FakePlatform

SHORT = Plan(steps=(Step(10, 20), Step(50, 20), Step(100, 20)), baseline=30, patience=300)


def ports(platform: FakePlatform) -> Ports:
    return Ports(platform.traffic, platform.workload, platform.evidence, platform.state, platform.outside)


def engine(platform: FakePlatform, holder: str = "first", hook: RecordingHook | None = None) -> Engine:
    return Engine(ports(platform), holder=holder, clock=platform.clock, hook=hook or RecordingHook())


def begin(platform: FakePlatform, plan: Plan = SHORT, kind: Kind = Kind.CANARY) -> Callable[[Record], Record]:
    now = platform.clock.now()
    rollout = desk.new_rollout("r1", kind, plan, stable="v1", candidate="v2", now=now)
    return lambda record: desk.began(record, rollout, now)


def deploy(platform: FakePlatform, plan: Plan = SHORT, kind: Kind = Kind.CANARY) -> Rollout:
    driver = engine(platform)
    driver.lease(begin(platform, plan, kind))
    return driver.run()


def shares(platform: FakePlatform) -> list[float]:
    return [route.share("v2") for route in platform.traffic.log]


def test_a_good_version_is_promoted_step_by_step() -> None:
    platform = FakePlatform()

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.DONE
    assert shares(platform) == [0, 10, 50, 95, 100]
    assert "v1" not in platform.workload.started


def test_a_version_that_fails_more_goes_back() -> None:
    platform = FakePlatform(v1=Behaviour(error_rate=0.002), v2=Behaviour(error_rate=0.05))

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "errors: " in rollout.progress.because
    assert platform.traffic.route == Route({"v1": 100.0})
    assert "v2" not in platform.workload.started


def test_a_slower_version_goes_back() -> None:
    platform = FakePlatform(v1=Behaviour(slow_rate=0.02), v2=Behaviour(slow_rate=0.4))

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "latency: " in rollout.progress.because


@pytest.mark.parametrize(
    ("behaviour", "because"),
    [
        (Behaviour(starts_in=float("inf")), "was not ready in 60 s"),
        (Behaviour(crashes_after=0.5), "was restarted 2 times"),
        (Behaviour(checks_hold=False), "a smoke test failed: GET fake://v2/health"),
        (Behaviour(startable=False), "v2 could not be started"),
    ],
    ids=["never-ready", "crashing", "check", "unstartable"],
)
def test_a_version_that_does_not_come_up_never_gets_traffic(behaviour: Behaviour, because: str) -> None:
    platform = FakePlatform(v2=behaviour)

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert because in rollout.progress.because
    assert set(shares(platform)) == {0.0}


def test_a_version_that_dies_in_a_step_goes_back() -> None:
    platform = FakePlatform(v2=Behaviour(crashes_after=45.0))

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "no ready instance" in rollout.progress.because


@pytest.mark.parametrize("undecided", [Undecided.HOLD, Undecided.ASK])
def test_too_little_traffic_holds_and_never_promotes(undecided: Undecided) -> None:
    platform = FakePlatform(rate=0.1)

    rollout = deploy(platform, replace(SHORT, undecided=undecided))

    assert rollout.progress.phase is Phase.HELD
    assert platform.traffic.route == Route({"v1": 100.0})
    assert platform.workload.ready("v2").is_full


def test_too_little_traffic_aborts_where_the_plan_says_so() -> None:
    rollout = deploy(FakePlatform(rate=0.1), replace(SHORT, undecided=Undecided.ABORT))

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "undecided after 300 s" in rollout.progress.because


def test_no_evidence_at_all_never_promotes() -> None:
    platform = FakePlatform(rate=0.0)

    assert deploy(platform).progress.phase is Phase.HELD


def test_a_held_rollout_is_promoted_by_a_person() -> None:
    platform = FakePlatform(rate=0.1)
    deploy(platform)
    driver = engine(platform)

    driver.lease(lambda record: desk.promoted(record, "v2"))
    rollout = driver.run()

    assert rollout.progress.phase is Phase.DONE
    assert platform.traffic.route == Route({"v2": 100.0})


def test_a_held_rollout_resumes_its_step() -> None:
    platform = FakePlatform(rate=0.1)
    deploy(platform)
    platform.evidence.rate = 100.0
    driver = engine(platform)

    driver.lease(desk.resumed)

    assert driver.run().progress.phase is Phase.DONE


def test_hooks_run_around_every_step() -> None:
    platform = FakePlatform()
    hooks = (StepHook(When.BEFORE, url="http://h/before"), StepHook(When.AFTER, command=("after",), share=50))

    deploy(platform, replace(SHORT, hooks=hooks))

    assert platform.outside.ran == ["http://h/before", "http://h/before", "after", "http://h/before"]


@pytest.mark.parametrize("when", When)
def test_a_failing_hook_goes_back(when: When) -> None:
    platform = FakePlatform()
    platform.outside.failing = {"http://h"}

    rollout = deploy(platform, replace(SHORT, hooks=(StepHook(when, url="http://h", share=50),)))

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert f"a hook {when} the step failed: http://h" in rollout.progress.because


def test_a_route_edited_by_hand_is_put_right() -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(begin(platform))
    while driver.look().progress.phase is not Phase.WATCH:
        pass

    platform.traffic.write(Route({"v1": 70.0, "v2": 30.0}), str(platform.traffic.revision))
    driver.look()

    assert platform.traffic.route.share("v2") == 10


def test_a_share_by_hand_stays_until_resumed() -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(begin(platform))
    while driver.look().progress.phase is not Phase.WATCH:
        pass

    engine(platform, "second").ask(lambda record: desk.scaled(record, 33.0))
    for _ in range(50):
        driver.look()
    by_hand = platform.traffic.route.share("v2")
    engine(platform, "second").ask(desk.resumed)

    assert by_hand == 33.0
    assert driver.run().progress.phase is Phase.DONE


def test_a_paused_rollout_is_still_judged() -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(begin(platform))
    while driver.look().progress.phase is not Phase.WATCH:
        pass

    engine(platform, "second").ask(desk.paused)
    for _ in range(100):
        driver.look()
    platform.behaviours["v2"] = Behaviour(error_rate=0.5)

    assert driver.run().progress.phase is Phase.ROLLED_BACK


def test_a_step_waits_for_approval() -> None:
    platform = FakePlatform()
    plan = replace(SHORT, steps=(Step(10, 20, approve=True), Step(100, 20)))
    driver = engine(platform)
    driver.lease(begin(platform, plan))
    for _ in range(200):
        assert driver.look().progress.step == 0

    engine(platform, "second").ask(desk.resumed)

    assert driver.run().progress.phase is Phase.DONE


def test_a_second_deploy_is_refused_with_holder_and_age() -> None:
    platform = FakePlatform()
    engine(platform).lease(begin(platform))
    platform.clock.advance(7)

    with pytest.raises(RolloutActive, match="held by first for 7 s"):
        engine(platform, "second").lease(begin(platform))


def test_nobody_else_may_move_a_rollout_on_while_its_lease_lasts() -> None:
    platform = FakePlatform()
    engine(platform).lease(begin(platform))

    with pytest.raises(RolloutActive):
        engine(platform, "second").lease(lambda record: record)
    platform.clock.advance(desk.LEASE)
    engine(platform, "second").lease(lambda record: record)


@pytest.mark.parametrize("looks", range(0, 40, 3))
def test_a_rollback_from_elsewhere_wins_at_any_time(looks: int) -> None:
    platform = FakePlatform()
    first, second = engine(platform), engine(platform, "second")
    first.lease(begin(platform))
    for _ in range(looks):
        first.look()

    second.lease(lambda record: desk.going_back(record, "a person asked"), by_force=True)
    with pytest.raises(LeaseLost, match="rolled back by second"):
        first.run()

    assert second.run().progress.phase is Phase.ROLLED_BACK
    assert platform.traffic.route == Route({"v1": 100.0})


def test_a_write_decided_before_the_rollback_is_refused() -> None:
    """The first process is overtaken between deciding a share and writing it: the worst moment."""
    platform = FakePlatform()
    first, second = engine(platform), engine(platform, "second")
    first.lease(begin(platform))
    while first.look().progress.phase is not Phase.SHIFT:
        pass
    write = platform.traffic.write

    def overtaken(route: Route, revision: str) -> object:
        platform.traffic.write = write  # type: ignore[method-assign]
        second.lease(lambda record: desk.going_back(record, "a person asked"), by_force=True)
        second.run()
        return write(route, revision)

    platform.traffic.write = overtaken  # type: ignore[method-assign,assignment]
    with pytest.raises(LeaseLost):
        first.run()

    assert platform.traffic.route == Route({"v1": 100.0})


def test_a_finished_rollout_goes_back_to_the_version_before() -> None:
    platform = FakePlatform()
    deploy(platform)
    driver = engine(platform)

    driver.lease(lambda record: desk.going_back(record, "a person asked"), by_force=True)
    rollout = driver.run()

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert platform.traffic.route == Route({"v1": 100.0})
    assert [past.outcome for past in platform.state.read().record.history] == [Phase.DONE, Phase.ROLLED_BACK]


def test_two_rollbacks_do_not_toggle() -> None:
    platform = FakePlatform(v2=Behaviour(checks_hold=False))
    deploy(platform)

    with pytest.raises(RolloutRefused, match="already rolled back to v1"):
        engine(platform).lease(lambda record: desk.going_back(record, "again"), by_force=True)


def test_traffic_stays_where_it_is_when_stable_cannot_take_it() -> None:
    platform = FakePlatform(v1=Behaviour(startable=True, starts_in=float("inf")), v2=Behaviour(error_rate=0.5))
    platform.behaviours["v1"] = Behaviour()
    driver = engine(platform)
    driver.lease(begin(platform))
    while driver.look().progress.phase is not Phase.WATCH:
        pass
    platform.behaviours["v1"] = Behaviour(starts_in=float("inf"))

    with pytest.raises(RolloutStuck, match="v1 is not ready"):
        driver.run()

    assert platform.traffic.route.share("v2") == 10


def test_blue_green_offers_switches_and_keeps_the_old_colour_until_finish() -> None:
    platform = FakePlatform()
    offered = deploy(platform, kind=Kind.BLUE_GREEN)
    driver = engine(platform)

    driver.lease(lambda record: desk.promoted(record, "v2"))
    live = driver.run()
    kept = platform.workload.ready("v1").is_full
    driver.lease(desk.finished)
    done = driver.run()

    assert [one.progress.phase for one in (offered, live, done)] == [Phase.OFFER, Phase.LIVE, Phase.DONE]
    assert kept
    assert shares(platform) == [0, 100]
    assert not platform.workload.ready("v1").wanted


def test_blue_green_goes_back_by_one_route_change() -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(lambda record: desk.promoted(begin(platform, kind=Kind.BLUE_GREEN)(record), "v2"))
    driver.run()

    driver.lease(lambda record: desk.going_back(record, "a person asked"), by_force=True)
    rollout = driver.run()

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert shares(platform) == [0, 100, 0]
    assert platform.workload.ready("v2").is_full


def test_blue_green_goes_back_by_itself_when_the_new_colour_fails() -> None:
    platform = FakePlatform(v2=Behaviour(error_rate=0.5))
    driver = engine(platform)

    driver.lease(lambda record: desk.promoted(begin(platform, kind=Kind.BLUE_GREEN)(record), "v2"))

    assert driver.run().progress.phase is Phase.ROLLED_BACK


def test_every_move_and_shift_is_announced() -> None:
    platform, hook = FakePlatform(), RecordingHook()
    driver = engine(platform, hook=hook)
    driver.lease(begin(platform))

    driver.run()

    assert [shift.share for shift in hook.of(TrafficShifted)] == [10, 50, 95, 100]
    assert hook.of(RolloutMoved)[-1].phase == "done"


def test_a_baseline_of_nothing_but_errors_is_not_the_candidates_fault() -> None:
    platform = FakePlatform(v1=Behaviour(error_rate=0.2), v2=Behaviour(error_rate=0.2))

    assert deploy(platform, replace(SHORT, limits=Limits(enough_points=0.1))).progress.phase is Phase.DONE


def test_a_share_that_takes_a_while_is_asked_for_until_it_is_there() -> None:
    platform = FakePlatform()
    platform.traffic.takes = 7.0

    rollout = deploy(platform)

    assert rollout.progress.phase is Phase.DONE
    assert shares(platform) == [0, 10, 50, 95, 100]


@pytest.mark.parametrize("from_share", [0, 95], ids=["a-step", "the-promotion"])
def test_a_share_that_never_comes_goes_back(from_share: float) -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(begin(platform))
    driver.run(lambda at: platform.traffic.route.share("v2") == from_share and at.phase in (Phase.BEFORE, Phase.AFTER))
    platform.traffic.takes = float("inf")
    driver.lease(lambda record: record)
    driver.run(lambda at: at.phase is Phase.RETREAT)

    platform.traffic.takes = 0.0
    driver.lease(lambda record: record)
    rollout = driver.run()

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "for v2 took more than 60 s" in rollout.progress.because
    assert platform.traffic.route == Route({"v1": 100.0})


def test_stable_that_cannot_take_everything_back_is_a_persons_business() -> None:
    platform = FakePlatform()
    driver = engine(platform)
    driver.lease(begin(platform))
    driver.run(lambda at: at.phase is Phase.WATCH)

    platform.traffic.takes = float("inf")
    driver.lease(lambda record: desk.going_back(record, "a person asked"))

    with pytest.raises(RolloutStuck, match="v1 lacks instances"):
        driver.run()


def test_a_version_that_takes_a_while_to_stop_is_stopped() -> None:
    platform = FakePlatform()
    platform.workload.stops_in = 5.0

    assert deploy(platform).progress.phase is Phase.DONE
    assert "v1" not in platform.workload.started


def test_a_version_that_never_stops_is_a_persons_business() -> None:
    platform = FakePlatform()
    platform.workload.stops_in = float("inf")

    with pytest.raises(RolloutStuck, match="v1 could not be put away in 60 s"):
        deploy(platform)
    assert platform.traffic.route == Route({"v2": 100.0})


def test_a_new_colour_that_never_had_traffic_is_stopped() -> None:
    platform = FakePlatform(v2=Behaviour(checks_hold=False))

    rollout = deploy(platform, kind=Kind.BLUE_GREEN)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "v2" not in platform.workload.started
