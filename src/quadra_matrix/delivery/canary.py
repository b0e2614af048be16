"""The next move of a canary rollout: decided from values, touching nothing."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.delivery import moves
from quadra_matrix.delivery.judge import new_step
from quadra_matrix.delivery.model import (
    BACKWARD,
    Finding,
    Move,
    Observation,
    Phase,
    Progress,
    Route,
    RunHooks,
    Send,
    Start,
    Wait,
)
from quadra_matrix.delivery.moves import enter, only, turned
from quadra_matrix.delivery.plan import Plan, Undecided, When

PROMOTABLE = frozenset({Phase.BASELINE, Phase.BEFORE, Phase.SHIFT, Phase.WATCH, Phase.AFTER, Phase.HELD})
"""Phases in which a person may skip the rest: the candidate is ready and passed its checks."""


def decide(plan: Plan, progress: Progress, seen: Observation) -> Move:
    """Choose the next move."""
    at = moves.counted(plan, progress, seen)
    because = moves.reason_to_turn(plan, at, seen)
    if because is not None:
        return moves.back(plan, turned(at, because), seen)
    if at.phase in BACKWARD:
        return moves.back(plan, at, seen)
    if at.orders.promote and at.phase in PROMOTABLE:
        return moves.promote(plan, at, seen)
    if at.phase in (Phase.START, Phase.CHECK, Phase.BASELINE):
        return _prepare(plan, at, seen)
    if at.phase in (Phase.BEFORE, Phase.SHIFT, Phase.WATCH, Phase.AFTER):
        return _walk(plan, at, seen)
    if at.phase is Phase.SETTLE:
        return moves.settle(plan, at, seen, Phase.DRAIN)
    if at.phase is Phase.PROMOTE:
        return moves.promote(plan, at, seen)
    if at.phase is Phase.HOLD:
        return Move(Send(only(at.stable)), enter(at, Phase.HELD), meanwhile=at)
    return moves.finish(plan, at, seen)


def _prepare(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Bring the candidate up and learn how stable behaves, before any traffic moves."""
    if at.phase is Phase.START:
        return moves.start(plan, at, seen)
    if at.phase is Phase.CHECK:
        return moves.check(at, Phase.BASELINE)
    if at.phase_time < plan.baseline:
        return Move(Wait(f"learning how {at.stable} behaves"), at)
    return Move(Wait(f"{at.stable} is known"), enter(at, Phase.BEFORE))


def _walk(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Take the steps."""
    if at.phase is Phase.BEFORE:
        failed = turned(at, "a hook before the step failed")
        return Move(RunHooks(at.step, When.BEFORE), enter(at, Phase.SHIFT), otherwise=failed)
    if at.phase is Phase.SHIFT:
        then = replace(enter(at, Phase.WATCH), memory=new_step(at.memory))
        return moves.send(plan, at, seen, route_of(plan, at), then)
    if at.phase is Phase.AFTER:
        last = at.step + 1 == len(plan.steps)
        then = enter(at, Phase.PROMOTE) if last else replace(enter(at, Phase.BEFORE), step=at.step + 1)
        return Move(RunHooks(at.step, When.AFTER), then, otherwise=turned(at, "a hook after the step failed"))
    return _repair(plan, at, seen) or _watch(plan, at)


def _repair(plan: Plan, at: Progress, seen: Observation) -> Move | None:
    """Mend what others changed: a route edited by hand, an instance that went away."""
    wanted = route_of(plan, at)
    if seen.route != at.sent:
        return Move(Send(wanted), at)
    if wanted != at.asked:
        return Move(Send(wanted), replace(at, memory=new_step(at.memory)))
    for version, readiness in ((at.stable, seen.stable), (at.candidate, seen.candidate)):
        if not readiness.is_full:
            return Move(Start(version), at)
    return None


def _watch(plan: Plan, at: Progress) -> Move:
    """Stay at a share until its time is over, the evidence is enough and a person agrees where one is asked."""
    step = plan.steps[at.step]
    if at.orders.paused:
        return Move(Wait("paused"), replace(at, phase_time=0.0))
    if at.phase_time < step.seconds:
        return Move(Wait(f"watching {plan.share_at(at.step):g} %"), at)
    if at.verdict.finding is Finding.UNDECIDED:
        return _undecided(plan, at)
    if awaits_approval(plan, at):
        return Move(Wait("waiting for approval: quadra canary resume"), at)
    return Move(Wait("the step is passed"), enter(at, Phase.AFTER))


def awaits_approval(plan: Plan, at: Progress) -> bool:
    """Tell whether a step is passed but for the word of a person."""
    step = plan.steps[at.step]
    is_over = at.phase is Phase.WATCH and not at.orders.paused and at.phase_time >= step.seconds
    asks = step.approve and at.orders.approved < at.step
    return is_over and asks and at.verdict.finding is not Finding.UNDECIDED


def _undecided(plan: Plan, at: Progress) -> Move:
    """Give a step more time, up to the plan's patience; then never go on."""
    if at.phase_time < plan.patience:
        return Move(Wait(f"undecided: {at.verdict.because}"), at)
    because = f"undecided after {plan.patience:g} s: {at.verdict.because}"
    if plan.undecided is Undecided.ABORT:
        return Move(Wait(because), turned(at, because))
    return Move(Wait(because), replace(enter(at, Phase.HOLD), because=because))


def route_of(plan: Plan, at: Progress) -> Route:
    """Return the route that a rollout wants at its step, or at the share that was set by hand."""
    share = plan.share_at(at.step) if at.orders.share is None else at.orders.share
    candidate = round(share, 2)
    return Route(
        {at.candidate: candidate, at.stable: round(100.0 - candidate, 2)},
        mirror_to=at.candidate if plan.mirror else None,
        mirror=plan.mirror,
        sticky_cookie=plan.sticky_cookie,
        sticky_header=plan.sticky_header,
    )
