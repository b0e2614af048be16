"""Moves that canary and blue-green share: start, check, come back, finish; pure."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.delivery.counters import since, strayed
from quadra_matrix.delivery.judge import Tick, look, new_step, verdict
from quadra_matrix.delivery.model import (
    AT_REST,
    BACKWARD,
    Finding,
    GiveUp,
    Kind,
    Move,
    Observation,
    Phase,
    Progress,
    Route,
    RunChecks,
    Send,
    Settle,
    Start,
    Stop,
    Wait,
)
from quadra_matrix.delivery.plan import Plan

UNWATCHED = BACKWARD | {Phase.START, Phase.DRAIN, Phase.STOP, Phase.DONE}
"""Phases in which a lost or worse candidate turns nothing: it is not ready yet, or nothing is left to turn to."""


def enter(at: Progress, phase: Phase) -> Progress:
    """Return the progress at the beginning of a phase."""
    return replace(at, phase=phase, phase_time=0.0)


def turned(at: Progress, because: str) -> Progress:
    """Return the progress that goes back. A rollout that goes back already keeps its reason."""
    if at.phase in BACKWARD:
        return at
    return replace(enter(at, Phase.RETREAT), because=because)


def only(version: str) -> Route:
    """Return the route that sends everything to one version."""
    return Route({version: 100.0})


def counted(plan: Plan, progress: Progress, seen: Observation) -> Progress:
    """Return the progress after the time that passed and, at the end of a tick, what was counted in it.

    A tick also ends before the share changes: only requests of the same time and share are compared.
    """
    at = replace(progress, phase_time=progress.phase_time + seen.elapsed, tick_time=progress.tick_time + seen.elapsed)
    if at.phase is not Phase.SHIFT and at.tick_time < plan.tick:
        return at
    return _compared(plan, replace(at, tick_time=0.0), seen)


def _compared(plan: Plan, at: Progress, seen: Observation) -> Progress:
    """Return the progress after comparing the counters; a tick that another version answered for is left out."""
    stable, candidate = seen.readings.get(at.stable), seen.readings.get(at.candidate)
    if stable is None or candidate is None:
        return at
    before, before_too = at.seen.get(at.stable), at.seen.get(at.candidate)
    tick = Tick(since(before, stable), since(before_too, candidate))
    at = replace(at, seen=dict(seen.readings))
    if strayed(before, stable) or strayed(before_too, candidate):
        return at
    memory = look(at.memory, plan, tick)
    return replace(at, memory=memory, verdict=verdict(memory, plan))


def reason_to_turn(plan: Plan, at: Progress, seen: Observation) -> str | None:
    """Return why the rollout must go back now, or None."""
    if at.phase in BACKWARD | AT_REST - {Phase.OFFER} | {Phase.DRAIN, Phase.STOP}:
        return None
    if seen.candidate.restarts > plan.limits.restarts:
        return f"{at.candidate} was restarted {seen.candidate.restarts} times"
    if at.phase is Phase.START:
        return None
    if not seen.candidate.ready and not _may_be_replaced(at, seen):
        return f"{at.candidate} has no ready instance"
    return at.verdict.because if at.verdict.finding is Finding.WORSE else None


def _may_be_replaced(at: Progress, seen: Observation) -> bool:
    """Tell whether the platform may just be putting other instances in place of those that nobody is sent to.

    Where instances are the split, as on a cluster, a version that gets its first share or loses its last one has others
    than before. A shift and a hold have deadlines of their own.
    """
    return at.phase in {Phase.SHIFT, Phase.HOLD} and seen.route.share(at.candidate) == 0


def start(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Start the candidate and wait for all its instances."""
    if seen.candidate.is_full:
        return Move(Wait(f"{at.candidate} is ready"), enter(at, Phase.CHECK))
    if at.phase_time >= plan.ready_within:
        ready = f"{seen.candidate.ready} of {seen.candidate.wanted} instances"
        why = f" ({seen.candidate.trouble})" if seen.candidate.trouble else ""
        return back(plan, turned(at, f"{at.candidate} was not ready in {plan.ready_within:g} s: {ready}{why}"), seen)
    return Move(Start(at.candidate), at, otherwise=turned(at, f"{at.candidate} could not be started"))


def check(at: Progress, then: Phase) -> Move:
    """Run the smoke tests."""
    return Move(RunChecks(at.candidate), enter(at, then), otherwise=turned(at, "a smoke test failed"))


def send(plan: Plan, at: Progress, seen: Observation, route: Route, then: Progress) -> Move:
    """Write a route until the platform has what it needs; after a while without that, go back."""
    if at.phase_time >= plan.ready_within:
        why = seen.candidate.trouble or "not all of its instances became ready"
        because = f"{route.share(at.candidate):g} % for {at.candidate} took more than {plan.ready_within:g} s: {why}"
        return Move(Wait(because), turned(at, because))
    return Move(Send(route), then, meanwhile=at)


def promote(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Send everything to the candidate."""
    at = at if at.phase is Phase.PROMOTE else enter(at, Phase.PROMOTE)
    return send(plan, at, seen, only(at.candidate), replace(enter(at, Phase.SETTLE), memory=new_step(at.memory)))


def settle(plan: Plan, at: Progress, seen: Observation, then: Phase) -> Move:
    """Make the candidate the stable one and wait until it has its full capacity."""
    if at.phase_time >= plan.ready_within and not seen.candidate.is_full:
        return back(plan, turned(at, f"{at.candidate} did not reach its full capacity"), seen)
    return Move(Settle(at.candidate), enter(at, then) if seen.candidate.is_full else at, meanwhile=at)


def drain(plan: Plan, at: Progress, seen: Observation, *, version: str, then: Phase) -> Move:
    """Wait until a version without traffic answers nothing any more.

    One look is not enough: the proxy's workers take the new route a moment after it reports it.
    """
    still = seen.open_requests.get(version, 0)
    if at.phase_time and (not still or at.phase_time >= plan.drain_within):
        return Move(Wait(f"{version} is drained"), enter(at, then))
    return Move(Wait(f"{still} requests are open on {version}"), at)


def back(plan: Plan, at: Progress, seen: Observation, kind: Kind = Kind.CANARY) -> Move:
    """Go one phase back. Route first: nothing else happens before stable has the traffic."""
    if at.phase is Phase.RETREAT:
        return _retreat(plan, at, seen, kind)
    if at.phase is Phase.DRAIN_BACK:
        return drain(plan, at, seen, version=at.candidate, then=Phase.STOP_BACK)
    if at.phase is Phase.STOP_BACK:
        return _stop(plan, at, at.candidate, Phase.ROLLED_BACK)
    return Move(Wait(at.because), at)


def _retreat(plan: Plan, at: Progress, seen: Observation, kind: Kind) -> Move:
    """Give stable the traffic, once it can take it: a route to a dead version would end the service."""
    if at.phase_time >= plan.ready_within and (not seen.stable.ready or at.asked == only(at.stable)):
        found = f"{at.stable} is not ready" if not seen.stable.ready else f"{at.stable} lacks instances"
        because = f"{found}, so the traffic stays where it is; start it, then roll back again"
        return Move(GiveUp(because), enter(at, Phase.RETREAT))
    if not seen.stable.ready:
        return Move(Start(at.stable), at)
    # A new colour that never had traffic is of no use to anybody: it is stopped like a canary.
    then = Phase.ROLLED_BACK if kind is Kind.BLUE_GREEN and at.asked else Phase.DRAIN_BACK
    return Move(Send(only(at.stable)), enter(at, then), meanwhile=at)


def finish(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Retire the version that was stable before."""
    if at.phase is Phase.DRAIN:
        return drain(plan, at, seen, version=at.stable, then=Phase.STOP)
    if at.phase is Phase.STOP:
        return _stop(plan, at, at.stable, Phase.DONE)
    return Move(Wait("done"), at)


def _stop(plan: Plan, at: Progress, version: str, then: Phase) -> Move:
    """Stop a version, as often as that takes."""
    if at.phase_time >= plan.ready_within:
        because = f"{version} could not be put away in {plan.ready_within:g} s; look at the platform, then: resume"
        return Move(GiveUp(because), enter(at, at.phase))
    return Move(Stop(version), enter(at, then), meanwhile=at)
