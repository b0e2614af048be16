"""The loop that moves a rollout on: observe, decide, act, record; resumable at every arrow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery import bluegreen, canary, desk
from quadra_matrix.delivery.counters import Reading
from quadra_matrix.delivery.model import (
    BACKWARD,
    Action,
    GiveUp,
    Kind,
    Move,
    Observation,
    Phase,
    Progress,
    Record,
    Rollout,
    Routed,
    RunChecks,
    RunHooks,
    Send,
    Settle,
    Start,
    Stop,
)
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.ports import Evidence, Outside, State, Stored, Traffic, Workload
from quadra_matrix.errors import (
    CheckFailed,
    EvidenceMissing,
    HookFailed,
    LeaseLost,
    RolloutStuck,
    StartRefused,
    StateChanged,
    StateUnwritable,
    TrafficChanged,
    TrafficUnknown,
)
from quadra_matrix.events import Hook, ignore
from quadra_matrix.events.delivery import RolloutMoved, TrafficShifted

log = logging.getLogger(__name__)

DECIDE: dict[Kind, Callable[[Plan, Progress, Observation], Move]] = {
    Kind.CANARY: canary.decide,
    Kind.BLUE_GREEN: bluegreen.decide,
}
SLOW = frozenset({Phase.BASELINE, Phase.WATCH})
"""Phases that are looked at once a tick; the others wait for something that takes a moment."""
GLANCE = 0.2
"""Seconds between two looks while something takes a moment, and between two glances at the record in a tick."""
PATIENCE = 10.0
"""Seconds the traffic layer or the state may fail before the loop ends: a proxy that was killed is back in one."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The platform, and the world outside it."""

    traffic: Traffic
    workload: Workload
    evidence: Evidence
    state: State
    outside: Outside


class Engine:
    """Moves the rollout of a record on, as one holder of its lease. One thread at a time.

    Every action may be repeated: the process may die between acting and recording, and then the next one decides the
    same move again from the same record.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        holder: str,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook = ignore,
        watch: Callable[[Rollout, Observation], None] | None = None,
        glance: float = GLANCE,
    ) -> None:
        """``watch`` gets every recorded look: it shows the rollout to a person.

        ``glance`` are the seconds between two looks while something takes a moment.
        """
        self._ports, self.holder, self._clock, self._hook, self._watch = ports, holder, clock, hook, watch
        self._glance = glance
        self._looked: float | None = None

    def ask(self, change: Callable[[Record], Record]) -> Record:
        """Change the record; somebody else's change in between means changing theirs."""
        while True:
            stored = self._ports.state.read()
            changed = change(stored.record)
            if changed == stored.record:
                return changed
            try:
                return self._ports.state.swap(changed, stored.revision).record
            except StateChanged:
                continue

    def lease(self, change: Callable[[Record], Record], *, by_force: bool = False) -> Record:
        """Change the record and become its holder. Raises ``RolloutActive`` while somebody else is."""
        now = self._clock.now()
        return self.ask(lambda record: desk.leased(change(record), self.holder, now, by_force=by_force))

    def run(self, until: Callable[[Progress], bool] = lambda at: False) -> Rollout:
        """Move the rollout on until it rests, or ``until`` holds, and give the lease back.

        Raises ``LeaseLost`` when somebody else took it, ``RolloutStuck`` or ``TrafficUnknown`` when a person must look.
        """
        try:
            while True:
                rollout = self._look_patiently()
                if rollout.progress.rests or until(rollout.progress):
                    return rollout
        finally:
            with suppress(StateUnwritable):  # then the lease ends by itself
                self.ask(lambda record: desk.released(record, self.holder))

    def _look_patiently(self) -> Rollout:
        """Look until a look is recorded; a traffic layer that does not answer gets some time."""
        deadline = self._clock.monotonic() + PATIENCE
        while True:
            try:
                return self.look()
            except (StateChanged, TrafficChanged):
                continue
            except TrafficUnknown:
                if self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(self._glance)
            except StateUnwritable as full:
                if self._clock.monotonic() >= deadline:
                    raise RolloutStuck(f"{full}; the traffic stays where it is, unjudged, until: resume") from full
                self._clock.sleep(self._glance)

    def look(self) -> Rollout:
        """Observe, decide, act and record once, then wait until it is time to look again."""
        # The route is read before the record. Whoever takes the lease writes the record first and the route second, so
        # a route read here, with a record that is still ours, is older than theirs: a write based on it is refused.
        routed = self._ports.traffic.read()
        stored = self._ports.state.read()
        rollout = self._ours(stored)
        began = self._clock.monotonic()
        seen = self._observe(rollout.progress, routed, began)
        move = DECIDE[rollout.kind](rollout.plan, rollout.progress, seen)
        if isinstance(move.action, Send) and rollout.progress.phase not in BACKWARD:
            # Traffic that moves must be written down; where that is impossible we learn it before. A way back goes on.
            stored = self._ports.state.swap(self._renewed(stored.record), stored.revision)
        then = self._act(rollout, move, routed, seen)
        now = self._clock.now()
        record = self._renewed(desk.advanced(stored.record, then, now))
        recorded = self._ports.state.swap(record, stored.revision)
        self._looked = began
        moved = desk.current(record)
        self._tell(rollout, moved, seen)
        if isinstance(move.action, GiveUp):
            raise RolloutStuck(move.action.because)
        if then.phase is rollout.progress.phase and not then.rests:
            self._wait(rollout, began, recorded.revision)
        return moved

    def _renewed(self, record: Record) -> Record:
        """Return the record with our lease from now on."""
        return desk.leased(record, self.holder, self._clock.now())

    def _ours(self, stored: Stored) -> Rollout:
        """Return the rollout if we still hold the lease."""
        lease = stored.record.lease
        if lease is None or lease.holder != self.holder:
            going_back = desk.is_going_back(stored.record)
            raise LeaseLost("nobody" if lease is None else lease.holder, rolled_back=going_back)
        return desk.current(stored.record)

    def _observe(self, at: Progress, routed: Routed, now: float) -> Observation:
        """Return what is so now."""
        ports = self._ports
        elapsed = 0.0 if self._looked is None else now - self._looked
        return Observation(
            routed.route,
            ports.workload.ready(at.stable),
            ports.workload.ready(at.candidate),
            self._readings(at.stable, at.candidate),
            {version: ports.traffic.open_requests(version) for version in (at.stable, at.candidate)},
            elapsed,
        )

    def _readings(self, *versions: str) -> dict[str, Reading]:
        """Return the raw counters by version; without those of both nothing is compared."""
        try:
            return {version: self._ports.evidence.read(version) for version in versions}
        except EvidenceMissing as missing:
            log.warning("nothing is judged at this look: %s", missing)
            return {}

    def _act(self, rollout: Rollout, move: Move, routed: Routed, seen: Observation) -> Progress:
        """Do the action and return what to record."""
        try:
            if isinstance(move.action, Send):
                reported = self._ports.traffic.write(move.action.route, routed.revision)
                at = move.then if reported.is_complete else move.meanwhile or move.then
                # What is not complete yet is written again at the next look, in whatever phase.
                sent = reported.route if reported.is_complete else None
                return replace(at, asked=move.action.route, sent=sent)
            if not self._do(rollout, move.action, seen):
                return move.meanwhile or move.then
        except (StartRefused, CheckFailed, HookFailed) as failed:
            if move.otherwise is None:
                raise
            return replace(move.otherwise, because=f"{move.otherwise.because}: {failed}")
        return move.then

    def _do(self, rollout: Rollout, action: Action, seen: Observation) -> bool:
        """Do an action that is no route, and tell whether it is done."""
        ports, plan = self._ports, rollout.plan
        if isinstance(action, Start):
            ports.workload.start(action.version)
        elif isinstance(action, Settle):
            return ports.workload.settle(action.version)
        elif isinstance(action, Stop):
            return ports.workload.stop(action.version)
        elif isinstance(action, RunChecks):
            ports.outside.check(plan.checks, seen.candidate.addresses)
        elif isinstance(action, RunHooks):
            ports.outside.run(plan.hooks_at(action.step, action.when), rollout)
        return True

    def _tell(self, before: Rollout, after: Rollout, seen: Observation) -> None:
        """Announce what changed, after it is recorded."""
        was, at = before.progress, after.progress
        if at.sent is not None and at.sent is not was.sent:
            self._hook(
                TrafficShifted(
                    rollout=after.name,
                    version=at.candidate,
                    asked=at.asked.share(at.candidate) if at.asked else 0.0,
                    share=at.sent.share(at.candidate),
                )
            )
        if at.phase is not was.phase:
            self._hook(
                RolloutMoved(
                    rollout=after.name,
                    rollout_kind=after.kind,
                    stable=at.stable,
                    candidate=at.candidate,
                    phase=at.phase,
                    step=at.step,
                    because=at.because,
                )
            )
        if self._watch is not None:
            self._watch(after, seen)

    def _wait(self, rollout: Rollout, began: float, revision: str) -> None:
        """Return when it is time to look again: at the end of the tick, or as soon as somebody changed the record."""
        until = began + (rollout.plan.tick if rollout.progress.phase in SLOW else self._glance)
        while (left := until - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left, self._glance))
            if self._ports.state.read().revision != revision:
                return
