"""What people may ask of the record: begin, order, go back; each returns a new record or refuses; pure."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.delivery.bluegreen import COLOURS, inactive
from quadra_matrix.delivery.canary import PROMOTABLE
from quadra_matrix.delivery.judge import knowing
from quadra_matrix.delivery.model import (
    BACKWARD,
    ENDED,
    Kind,
    Lease,
    Orders,
    Past,
    Phase,
    Progress,
    Record,
    Rollout,
)
from quadra_matrix.delivery.moves import enter, turned
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.errors import RolloutActive, RolloutRefused
from quadra_matrix.stats.arms import Counts

LEASE = 15.0
"""Seconds a lease lasts unless renewed; every look renews it."""
KEPT = 50
"""Lines of history."""


def leased(record: Record, holder: str, now: float, *, by_force: bool = False) -> Record:
    """Return the record with the lease of ``holder``, taken or renewed.

    Raises ``RolloutActive`` while somebody else holds it; a rollback takes it by force.
    """
    held = record.lease
    if held is None or held.until <= now or by_force or held.holder == holder:
        since = held.since if held is not None and held.holder == holder else now
        return replace(record, lease=Lease(holder, since, now + LEASE))
    raise RolloutActive(active_name(record), held.holder, now - held.since)


def released(record: Record, holder: str) -> Record:
    """Return the record without the lease, if it is the holder's."""
    ours = record.lease is not None and record.lease.holder == holder
    return replace(record, lease=None) if ours else record


def active_name(record: Record) -> str:
    """Return what is under way, for a message."""
    rollout = record.rollout
    return f"the {rollout.kind} rollout of {rollout.progress.candidate}" if rollout else "another command"


def idle(record: Record, now: float) -> Record:
    """Return the record if no rollout is under way. Raises ``RolloutActive`` naming holder and age."""
    if record.rollout is not None and record.rollout.progress.phase not in ENDED:
        lease = record.lease
        holder = lease.holder if lease is not None and lease.until > now else "nobody"
        raise RolloutActive(active_name(record), holder, now - record.rollout.started)
    return record


def began(record: Record, rollout: Rollout, now: float) -> Record:
    """Return the record in which a rollout begins. Raises ``RolloutActive`` while another one is not over."""
    if rollout.progress.candidate == rollout.progress.stable:
        raise RolloutRefused(f"{rollout.progress.candidate} already has the traffic")
    return replace(idle(record, now), rollout=rollout)


def painted(record: Record, stable: str, candidate: str) -> Record:
    """Return the record in which the candidate has the colour that stable has not."""
    active = colour_of(record, stable) or COLOURS[0]
    return replace(record, colours={active: stable, inactive(active): candidate})


def colour_of(record: Record, version: str) -> str | None:
    """Return the colour of a version."""
    return next((colour for colour, of in record.colours.items() if of == version), None)


def version_of(record: Record, colour: str) -> str:
    """Return the version of a colour. Raises ``RolloutRefused`` for an unknown or empty one."""
    if colour not in COLOURS:
        raise RolloutRefused(f"{colour!r} is no colour; there are {' and '.join(COLOURS)}")
    if colour not in record.colours:
        raise RolloutRefused(f"{colour} runs nothing yet; run: quadra bluegreen deploy VERSION")
    return record.colours[colour]


def current(record: Record) -> Rollout:
    """Return the rollout. Raises ``RolloutRefused`` where there never was one."""
    if record.rollout is None:
        raise RolloutRefused("there is no rollout")
    return record.rollout


def paused(record: Record) -> Record:
    """Return the record of a rollout that stays where it is. It is still judged, and still goes back if worse."""
    return _ordered(record, replace(_orders(record), paused=True))


def resumed(record: Record) -> Record:
    """Return the record of a rollout that goes on: not paused, no share by hand, this step approved, held no longer."""
    rollout = current(record)
    at = rollout.progress
    if at.phase is Phase.HELD:
        at = replace(enter(at, Phase.BEFORE), because="")
    orders = replace(at.orders, paused=False, share=None, approved=max(at.orders.approved, at.step))
    return replace(record, rollout=replace(rollout, progress=replace(at, orders=orders)))


def scaled(record: Record, share: float) -> Record:
    """Return the record of a rollout whose share a person sets; it stays paused there."""
    at = current(record).progress
    if at.phase not in PROMOTABLE - {Phase.BASELINE}:
        raise RolloutRefused(f"the rollout of {at.candidate} is in phase {at.phase}: it has no share to set")
    ordered = _ordered(record, replace(at.orders, paused=True, share=share))
    if at.phase is not Phase.HELD:
        return ordered
    rollout = current(ordered)
    return replace(ordered, rollout=replace(rollout, progress=enter(rollout.progress, Phase.SHIFT)))


def promoted(record: Record, version: str) -> Record:
    """Return the record of a rollout that a person promotes now."""
    at = current(record).progress
    if version != at.candidate:
        raise RolloutRefused(f"{version} is not the candidate; {at.candidate} is")
    if at.phase not in PROMOTABLE | {Phase.OFFER, Phase.START, Phase.CHECK}:
        raise RolloutRefused(f"the rollout of {version} is in phase {at.phase}: there is nothing to promote")
    return _ordered(record, replace(at.orders, promote=True, paused=False, share=None))


def finished(record: Record) -> Record:
    """Return the record of a blue-green rollout whose old colour may be stopped."""
    at = current(record).progress
    if at.phase is not Phase.LIVE:
        raise RolloutRefused(f"the rollout of {at.candidate} is in phase {at.phase}: there is nothing to finish")
    return _ordered(record, replace(at.orders, finish=True))


def going_back(record: Record, because: str) -> Record:
    """Return the record of a rollout that goes back, also one that is over. One that went back refuses: no toggling."""
    rollout = current(record)
    if rollout.progress.phase is Phase.ROLLED_BACK:
        raise RolloutRefused(f"already rolled back to {rollout.progress.stable}")
    at = replace(turned(rollout.progress, because), orders=Orders())
    return replace(record, rollout=replace(rollout, progress=at, ended=None))


def advanced(record: Record, progress: Progress, now: float) -> Record:
    """Return the record after a move; the end of a rollout becomes a line of the history."""
    rollout = current(record)
    ends = progress.phase in ENDED and rollout.progress.phase not in ENDED
    moved = replace(rollout, progress=progress, ended=now if ends else rollout.ended)
    history = (*record.history, _past(moved, now))[-KEPT:] if ends else record.history
    return replace(record, rollout=moved, history=history)


def new_rollout(
    name: str,
    kind: Kind,
    plan: Plan,
    *,
    stable: str,
    candidate: str,
    now: float,
    history: tuple[Counts, ...] = (),
) -> Rollout:
    """Return a rollout at its beginning; ``history`` are ticks of stable's requests and errors from before it."""
    return Rollout(name, kind, plan, Progress(stable, candidate, memory=knowing(plan, history)), now)


def is_going_back(record: Record) -> bool:
    """Tell whether the rollout goes back."""
    return record.rollout is not None and record.rollout.progress.phase in BACKWARD


def _past(rollout: Rollout, now: float) -> Past:
    at = rollout.progress
    return Past(rollout.name, rollout.kind, at.stable, at.candidate, at.phase, at.because, rollout.started, now)


def _orders(record: Record) -> Orders:
    return current(record).progress.orders


def _ordered(record: Record, orders: Orders) -> Record:
    rollout = current(record)
    if rollout.progress.phase in BACKWARD:
        raise RolloutRefused(f"the rollout of {rollout.progress.candidate} is rolled back; it never turns forward")
    return replace(record, rollout=replace(rollout, progress=replace(rollout.progress, orders=orders)))
