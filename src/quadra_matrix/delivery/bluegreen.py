"""The next move of a blue-green rollout: decided from values, touching nothing."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.delivery import moves
from quadra_matrix.delivery.model import BACKWARD, Kind, Move, Observation, Phase, Progress, Send, Start, Wait
from quadra_matrix.delivery.moves import enter, only, turned
from quadra_matrix.delivery.plan import Plan

COLOURS = ("blue", "green")


def decide(plan: Plan, progress: Progress, seen: Observation) -> Move:
    """Choose the next move."""
    at = moves.counted(plan, progress, seen)
    because = moves.reason_to_turn(plan, at, seen)
    if because is not None:
        return moves.back(plan, turned(at, because), seen, Kind.BLUE_GREEN)
    if at.phase in BACKWARD:
        return moves.back(plan, at, seen, Kind.BLUE_GREEN)
    if at.phase is Phase.START:
        return moves.start(plan, at, seen)
    if at.phase is Phase.CHECK:
        return moves.check(at, Phase.OFFER)
    if at.phase is Phase.OFFER:
        return _offer(at, seen)
    if at.phase is Phase.PROMOTE:
        return moves.promote(plan, at, seen)
    if at.phase is Phase.SETTLE:
        return moves.settle(plan, at, seen, Phase.WATCH)
    if at.phase in (Phase.WATCH, Phase.LIVE):
        return _watch(plan, at, seen)
    return moves.finish(plan, at, seen)


def _offer(at: Progress, seen: Observation) -> Move:
    """Wait for the answer to "switch now?"."""
    if not seen.candidate.is_full:
        return Move(Start(at.candidate), at)
    if at.orders.promote:
        return Move(Wait("switching"), enter(at, Phase.PROMOTE))
    return Move(Wait(f"{at.candidate} is ready to take the traffic"), at)


def _watch(plan: Plan, at: Progress, seen: Observation) -> Move:
    """Watch the new colour; the old one stays up until a person finishes."""
    if at.orders.finish:
        return Move(Wait("finishing"), enter(at, Phase.DRAIN))
    if seen.route != at.sent:
        return Move(Send(only(at.candidate)), at)
    if at.phase is Phase.WATCH and at.phase_time >= plan.watch:
        return Move(Wait(f"{at.candidate} is live"), replace(enter(at, Phase.LIVE), because=""))
    return Move(Wait(f"watching {at.candidate}"), at)


def inactive(active: str | None) -> str:
    """Return the colour that has no traffic."""
    return "green" if active == "blue" else "blue"
