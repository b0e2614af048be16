"""The process dies at every arrow, and the next one ends where an undisturbed one ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.engine import Engine, Ports
from quadra_matrix.delivery.model import Kind, Phase, Record, Rollout
from quadra_matrix.delivery.plan import Plan, Step, StepHook, When
from quadra_matrix.testing.delivery import Behaviour, FakePlatform

PLAN = Plan(
    steps=(Step(20, 10), Step(100, 10)),
    baseline=10,
    hooks=(StepHook(When.BEFORE, url="http://before"), StepHook(When.AFTER, url="http://after")),
)


class PowerCut(BaseException):
    """The process ends here; nothing of it runs any more."""


@dataclass
class Fuse:
    """Cuts the power at the n-th change of the world, before or after it happened."""

    blows_at: int
    after: bool
    changes: int = 0

    def around(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*arguments: Any) -> Any:
            self.changes += 1
            if self.changes > self.blows_at or (self.changes == self.blows_at and not self.after):
                raise PowerCut
            result = change(*arguments)
            if self.changes == self.blows_at:
                raise PowerCut
            return result

        return changing


class Fused:
    """A part of the platform whose changing methods go through a fuse."""

    def __init__(self, part: object, fuse: Fuse, *changing: str) -> None:
        self._part = part
        for name in changing:
            setattr(self, name, fuse.around(getattr(part, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def fused(platform: FakePlatform, fuse: Fuse) -> Ports:
    return Ports(
        Fused(platform.traffic, fuse, "write"),  # type: ignore[arg-type]
        Fused(platform.workload, fuse, "start", "settle", "stop"),  # type: ignore[arg-type]
        platform.evidence,
        Fused(platform.state, fuse, "swap"),  # type: ignore[arg-type]
        Fused(platform.outside, fuse, "check", "run"),  # type: ignore[arg-type]
    )


def begin(platform: FakePlatform, kind: Kind) -> Callable[[Record], Record]:
    now = platform.clock.now()
    rollout = desk.new_rollout("r1", kind, PLAN, stable="v1", candidate="v2", now=now)

    def change(record: Record) -> Record:
        begun = desk.began(record, rollout, now)
        return desk.promoted(begun, "v2") if kind is Kind.BLUE_GREEN else begun

    return change


def run_with_a_crash(platform: FakePlatform, kind: Kind, fuse: Fuse) -> Rollout:
    """Begin, be cut off by the fuse, and let a second process resume once the lease ran out."""
    first = Engine(fused(platform, fuse), holder="first", clock=platform.clock)
    try:
        first.lease(begin(platform, kind))
        return first.run()
    except PowerCut:
        platform.clock.advance(desk.LEASE)
    second = Engine(fused(platform, Fuse(10**9, after=False)), holder="second", clock=platform.clock)
    if platform.state.read().record.rollout is None:
        second.lease(begin(platform, kind))
    second.lease(lambda record: record)
    return second.run()


def outcome(platform: FakePlatform, rollout: Rollout) -> tuple[Phase, dict[str, float], set[str]]:
    return rollout.progress.phase, platform.traffic.route.weights, set(platform.workload.started)


SCENARIOS: dict[str, tuple[Kind, dict[str, Behaviour]]] = {
    "good": (Kind.CANARY, {}),
    "failing": (Kind.CANARY, {"v2": Behaviour(error_rate=0.3)}),
    "refused": (Kind.CANARY, {"v2": Behaviour(checks_hold=False)}),
    "switch": (Kind.BLUE_GREEN, {}),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_at_any_change_ends_where_an_undisturbed_run_ends(scenario: str, after: bool) -> None:
    kind, behaviours = SCENARIOS[scenario]
    undisturbed, never = FakePlatform(**behaviours), Fuse(10**9, after=False)
    expected = outcome(undisturbed, run_with_a_crash(undisturbed, kind, never))
    assert never.changes > 10

    for blows_at in range(1, never.changes + 1):
        platform = FakePlatform(**behaviours)
        ended = outcome(platform, run_with_a_crash(platform, kind, Fuse(blows_at, after=after)))
        assert ended == expected, f"crash at change {blows_at}"


def test_every_request_is_judged_once_whatever_crashes() -> None:
    """A tick that was observed and not recorded is observed again, not lost and not counted twice."""
    platform = FakePlatform(v1=Behaviour(), v2=Behaviour())
    fuse = Fuse(30, after=False)

    rollout = run_with_a_crash(platform, Kind.CANARY, fuse)

    errors = next(tally for tally in rollout.progress.memory.tallies if tally.metric == "errors")
    before_the_end = rollout.progress.seen["v2"].instances["v2-0"].requests
    assert errors.candidate.total == before_the_end


def test_a_rollback_survives_a_crash_at_its_first_change() -> None:
    platform = FakePlatform()
    first = Engine(fused(platform, Fuse(10**9, after=False)), holder="first", clock=platform.clock)
    first.lease(begin(platform, Kind.CANARY))
    while first.look().progress.phase is not Phase.WATCH:
        pass
    cut = Engine(fused(platform, Fuse(2, after=False)), holder="cut", clock=platform.clock)
    cut.lease(lambda record: desk.going_back(record, "a person asked"), by_force=True)
    with pytest.raises(PowerCut):
        cut.run()
    platform.clock.advance(desk.LEASE)

    last = Engine(fused(platform, Fuse(10**9, after=False)), holder="last", clock=platform.clock)
    last.lease(lambda record: replace(record))

    assert last.run().progress.phase is Phase.ROLLED_BACK
