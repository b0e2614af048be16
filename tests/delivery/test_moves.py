"""Every branch of what comes next, and what may never happen, whatever is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.delivery import bluegreen, canary, desk, moves
from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.model import (
    BACKWARD,
    GiveUp,
    Kind,
    Move,
    Observation,
    Orders,
    Phase,
    Progress,
    Readiness,
    Record,
    Route,
    Send,
    Settle,
    Start,
    Stop,
    Wait,
)
from quadra_matrix.delivery.plan import Plan, Step, Undecided
from quadra_matrix.errors import InvalidValue, RolloutActive, RolloutRefused

PLAN = Plan(steps=(Step(10, 20), Step(100, 20)), patience=100)
FULL, GONE = Readiness(1, 1), Readiness(0, 1)
DECIDE = {Kind.CANARY: canary.decide, Kind.BLUE_GREEN: bluegreen.decide}


def seen(**changes: object) -> Observation:
    return replace(Observation(Route({"v1": 100.0}), FULL, FULL), **changes)  # type: ignore[arg-type]


def at(phase: Phase, **changes: object) -> Progress:
    sent = Route({"v1": 100.0})
    return replace(Progress("v1", "v2", phase, asked=sent, sent=sent), **changes)  # type: ignore[arg-type]


readiness = st.builds(Readiness, st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))
observations = st.builds(
    Observation,
    st.sampled_from([Route({"v1": 100.0}), Route({"v1": 90.0, "v2": 10.0}), Route({"v2": 100.0})]),
    readiness,
    readiness,
    st.fixed_dictionaries(
        {
            version: st.builds(
                lambda n, e, s: Reading({"i": Counters(n, min(n, e))}, s),
                st.integers(0, 10**6),
                st.integers(0, 10**6),
                st.integers(0, 1),
            )
            for version in ("v1", "v2")
        }
    ),
    st.just({"v1": 0, "v2": 0}),
    st.floats(0, 200),
)
orders = st.builds(
    Orders, st.booleans(), st.integers(-1, 3), st.booleans(), st.none() | st.floats(0, 100), st.booleans()
)


@given(st.sampled_from(Kind), st.sampled_from(sorted(BACKWARD)), st.lists(observations, max_size=8), orders)
def test_a_rollback_never_turns_forward(kind: Kind, phase: Phase, looks: list[Observation], asked: Orders) -> None:
    progress = at(phase, orders=asked)
    for one in looks:
        move = DECIDE[kind](PLAN, progress, one)
        progress = move.then

        assert progress.phase in BACKWARD
        assert not isinstance(move.action, Send) or move.action.route == Route({"v1": 100.0})


@given(st.sampled_from(Kind), st.sampled_from(Phase), observations, orders)
def test_what_has_traffic_is_never_stopped_and_what_is_dead_never_gets_all(
    kind: Kind, phase: Phase, one: Observation, asked: Orders
) -> None:
    move = DECIDE[kind](PLAN, at(phase, orders=asked), one)

    if isinstance(move.action, Stop):
        assert phase in (Phase.STOP, Phase.STOP_BACK)
        assert move.action.version == ("v1" if phase is Phase.STOP else "v2")
    if isinstance(move.action, Send) and move.action.route == Route({"v1": 100.0}) and phase is not Phase.HOLD:
        assert one.stable.ready


@given(st.lists(observations, min_size=1, max_size=12))
def test_undecided_never_promotes(looks: list[Observation]) -> None:
    """Whatever else is seen: without a request of the candidate no step is ever passed."""
    progress = at(Phase.WATCH)
    for one in looks:
        silent = replace(one, readings={"v1": one.readings["v1"], "v2": Reading({"i": Counters()})})
        progress = canary.decide(PLAN, progress, silent).then
        if progress.phase is not Phase.WATCH:
            break

    assert progress.phase in BACKWARD | {Phase.WATCH, Phase.HOLD}


@pytest.mark.parametrize(
    ("kind", "progress", "observation", "action", "phase"),
    [
        (Kind.CANARY, at(Phase.SETTLE, phase_time=1.0), seen(), Settle, Phase.DRAIN),
        (Kind.CANARY, at(Phase.SETTLE), seen(candidate=Readiness(1, 2)), Settle, Phase.SETTLE),
        (Kind.CANARY, at(Phase.SETTLE, phase_time=90.0), seen(candidate=Readiness(1, 2)), Send, Phase.DRAIN_BACK),
        (Kind.CANARY, at(Phase.DRAIN), seen(), Wait, Phase.DRAIN),
        (Kind.CANARY, at(Phase.DRAIN, phase_time=1.0), seen(open_requests={"v1": 3}), Wait, Phase.DRAIN),
        (Kind.CANARY, at(Phase.DRAIN, phase_time=31.0), seen(open_requests={"v1": 3}), Wait, Phase.STOP),
        (Kind.CANARY, at(Phase.DONE), seen(), Wait, Phase.DONE),
        (Kind.CANARY, at(Phase.RETREAT), seen(stable=GONE), Start, Phase.RETREAT),
        (Kind.CANARY, at(Phase.RETREAT, phase_time=61.0), seen(stable=GONE), GiveUp, Phase.RETREAT),
        (Kind.CANARY, at(Phase.STOP_BACK), seen(), Stop, Phase.ROLLED_BACK),
        (Kind.CANARY, at(Phase.ROLLED_BACK), seen(), Wait, Phase.ROLLED_BACK),
        (Kind.CANARY, at(Phase.HOLD), seen(), Send, Phase.HELD),
        (Kind.CANARY, at(Phase.CHECK), seen(candidate=GONE), Send, Phase.DRAIN_BACK),
        (Kind.BLUE_GREEN, at(Phase.OFFER), seen(candidate=Readiness(1, 2)), Start, Phase.OFFER),
        (Kind.BLUE_GREEN, at(Phase.LIVE), seen(route=Route({"v2": 100.0})), Send, Phase.LIVE),
        (Kind.BLUE_GREEN, at(Phase.WATCH), seen(), Wait, Phase.WATCH),
        (Kind.BLUE_GREEN, at(Phase.PROMOTE), seen(), Send, Phase.SETTLE),
        (Kind.BLUE_GREEN, at(Phase.STOP), seen(), Stop, Phase.DONE),
    ],
)
def test_the_next_move(kind: Kind, progress: Progress, observation: Observation, action: type, phase: Phase) -> None:
    move: Move = DECIDE[kind](PLAN, progress, observation)

    assert isinstance(move.action, action)
    assert move.then.phase is phase


def test_an_instance_that_went_away_in_a_step_is_started_again() -> None:
    progress = at(Phase.WATCH, asked=Route({"v2": 10.0, "v1": 90.0}), sent=Route({"v1": 90.0, "v2": 10.0}))
    observation = seen(route=progress.sent, candidate=Readiness(1, 2))

    assert canary.decide(PLAN, progress, observation).action == Start("v2")


def test_a_tick_that_another_version_answered_is_not_judged() -> None:
    before = {name: Reading({"i": Counters(100, 0)}) for name in ("v1", "v2")}
    strayed = {"v1": Reading({"i": Counters(200, 0)}), "v2": Reading({"i": Counters(200, 100)}, strays=7)}

    after = moves.counted(PLAN, at(Phase.WATCH, seen=before), seen(readings=strayed, elapsed=5.0))

    assert after.seen == strayed
    assert not after.memory.tallies


def test_only_what_is_counted_in_whole_ticks_is_compared() -> None:
    readings = {name: Reading({"i": Counters(100, 0)}) for name in ("v1", "v2")}

    assert moves.counted(PLAN, at(Phase.WATCH), seen(readings=readings, elapsed=2.0)).seen == {}
    assert moves.counted(PLAN, at(Phase.WATCH), seen(elapsed=6.0)).seen == {}


def test_turning_twice_keeps_the_first_reason() -> None:
    assert moves.turned(moves.turned(at(Phase.WATCH), "first"), "second").because == "first"


def begun(kind: Kind = Kind.CANARY, phase: Phase = Phase.WATCH) -> Record:
    rollout = desk.new_rollout("r", kind, PLAN, stable="v1", candidate="v2", now=0.0)
    return Record(rollout=replace(rollout, progress=replace(rollout.progress, phase=phase)))


def test_the_same_version_again_is_refused() -> None:
    rollout = desk.new_rollout("r", Kind.CANARY, PLAN, stable="v1", candidate="v1", now=0.0)

    with pytest.raises(RolloutRefused, match="already has the traffic"):
        desk.began(Record(), rollout, 0.0)


def test_a_rollout_that_nobody_holds_is_still_under_way() -> None:
    with pytest.raises(RolloutActive, match="held by nobody for 9 s"):
        desk.idle(begun(), 9.0)


def test_a_lease_of_another_kind_of_command_names_it() -> None:
    held = desk.leased(Record(), "first", 0.0)

    with pytest.raises(RolloutActive, match="another command"):
        desk.leased(held, "second", 1.0)


@pytest.mark.parametrize(
    ("ask", "record", "message"),
    [
        (desk.paused, Record(), "there is no rollout"),
        (desk.paused, begun(phase=Phase.RETREAT), "never turns forward"),
        (lambda record: desk.scaled(record, 5), begun(phase=Phase.START), "no share to set"),
        (lambda record: desk.promoted(record, "v3"), begun(), "v3 is not the candidate; v2 is"),
        (lambda record: desk.promoted(record, "v2"), begun(phase=Phase.DONE), "nothing to promote"),
        (desk.finished, begun(), "nothing to finish"),
        (lambda record: desk.version_of(record, "pink"), Record(), "'pink' is no colour"),
        (lambda record: desk.version_of(record, "blue"), Record(), "blue runs nothing"),
    ],
)
def test_what_does_not_fit_the_rollout_is_refused(ask: object, record: Record, message: str) -> None:
    with pytest.raises(RolloutRefused, match=message):
        ask(record)  # type: ignore[operator]


def test_a_share_may_be_set_on_a_rollout_that_is_held() -> None:
    progress = desk.current(desk.scaled(begun(phase=Phase.HELD), 30)).progress

    assert progress.phase is Phase.SHIFT
    assert canary.route_of(PLAN, progress) == Route({"v2": 30.0, "v1": 70.0})


def test_a_version_has_the_colour_it_was_painted() -> None:
    record = desk.painted(Record(), "v1", "v2")

    assert desk.version_of(record, "green") == "v2"
    assert desk.colour_of(record, "v3") is None


def test_colours_alternate() -> None:
    first = desk.painted(Record(), "v1", "v2")
    second = desk.painted(first, "v2", "v3")

    assert first.colours == {"blue": "v1", "green": "v2"}
    assert second.colours == {"green": "v2", "blue": "v3"}


def test_only_the_holder_gives_a_lease_back() -> None:
    held = desk.leased(Record(), "first", 0.0)

    assert desk.released(held, "second") == held
    assert desk.released(held, "first").lease is None


@pytest.mark.parametrize("weights", [{}, {"v1": 0.0, "v2": 0.0}, {"v1": -10.0, "v2": 110.0}, {"v1": 50.0}])
def test_no_route_to_nowhere(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidValue):
        Route(weights)


def test_mirroring_and_stickiness_are_in_the_route() -> None:
    plan = replace(PLAN, mirror=5.0, sticky_cookie="quadra")

    route = canary.route_of(plan, at(Phase.SHIFT))

    assert (route.mirror_to, route.mirror, route.sticky_cookie) == ("v2", 5.0, "quadra")


def test_an_abort_of_the_undecided_keeps_its_numbers() -> None:
    plan = replace(PLAN, undecided=Undecided.ABORT)
    sent = Route({"v2": 10.0, "v1": 90.0})
    progress = at(Phase.WATCH, asked=sent, sent=sent, phase_time=101.0)

    assert "undecided after 100 s" in canary.decide(plan, progress, seen(route=sent)).then.because
