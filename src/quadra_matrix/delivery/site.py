"""One place where versions are delivered, put together: ports, engine, and what people ask of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery import desk
from quadra_matrix.delivery.engine import GLANCE, Engine, Ports
from quadra_matrix.delivery.fleet import Command
from quadra_matrix.delivery.model import Kind, Observation, Phase, Progress, Record, Rollout, Route
from quadra_matrix.delivery.outside import Webhooks
from quadra_matrix.delivery.plan import Plan, valid_version
from quadra_matrix.delivery.ports import Evidence, Outside, State, Traffic, Workload
from quadra_matrix.errors import ObjectMissing, RolloutRefused, RolloutStuck
from quadra_matrix.events import Hook, fan_out, ignore
from quadra_matrix.stats.arms import Counts

Watch = Callable[[Rollout, Observation], None]
"""Shows a look to a person."""
Order = Callable[[Record], Record]
"""What is asked of the record."""
Until = Callable[[Progress], bool]
"""Whether what was asked for is done."""

ANSWERED_WITHIN = 20.0
"""Seconds in which the process that moves a rollout must have done what was asked."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a site stands on: the ports of a platform, and what it knows beside them."""

    traffic: Traffic
    workload: Workload
    state: State
    outside: Outside
    evidence: Callable[[Plan], Evidence]
    """Returns the evidence that a plan asks for."""
    declare: Callable[[Plan, str, Command | None], None]
    """Says how a version is started, and refuses what the platform cannot do; before anything is touched."""
    history: Callable[[], tuple[Counts, ...]] = tuple
    """Returns how the serving version behaved lately, tick by tick."""
    colours: Callable[[Record], dict[str, str]] = lambda record: record.colours
    """Returns colour -> version, the active colour first where the platform knows it."""
    glance: float = GLANCE
    """Seconds between two looks while something takes a moment."""


@dataclass(frozen=True, slots=True)
class Site:
    """The delivery of one service in one place."""

    ground: Ground
    clock: Clock = SYSTEM_CLOCK
    hook: Hook = ignore

    @property
    def state(self) -> State:
        """Where the record lives."""
        return self.ground.state

    def route(self) -> Route:
        """Return where the traffic goes."""
        return self.ground.traffic.read().route

    def record(self) -> Record:
        """Return the record, with the colours as they are."""
        found = self.state.read().record
        return replace(found, colours=self.ground.colours(found))

    def serving(self) -> str:
        """Return the version that has all the traffic. Raises ``RolloutRefused`` when it is split."""
        route = self.route()
        whole = [version for version, share in route.weights.items() if share == 100]
        if not whole:
            raise RolloutRefused(f"the traffic is split ({shares(route)}); end that rollout first")
        return whole[0]

    def deploy(
        self,
        kind: Kind,
        version: str,
        plan: Plan,
        watch: Watch,
        *,
        command: Command | None = None,
        order: Order | None = None,
        until: Until = lambda at: False,
    ) -> Rollout:
        """Begin a rollout, move it on until it rests or ``until`` holds; ``order`` is asked for from the beginning.

        Without a command the version is started like the last one. A refusal leaves everything as it was.
        """
        now = self.clock.now()
        desk.idle(self.state.read().record, now)
        stable = self.serving()
        if version != stable:
            self.ground.declare(plan, version, command)
        name = f"{kind}-{valid_version(version)}-{int(now)}"
        history = self.ground.history()
        rollout = desk.new_rollout(name, kind, plan, stable=stable, candidate=version, now=now, history=history)

        def begin(record: Record) -> Record:
            begun = desk.began(record, rollout, now)
            if kind is Kind.BLUE_GREEN:
                begun = desk.painted(replace(begun, colours=self.ground.colours(begun)), stable, version)
            return order(begun) if order else begun

        return self._move(begin, plan, watch, until=until)

    def order(self, change: Order, is_done: Until, watch: Watch) -> Rollout:
        """Ask something of the rollout: of the process that moves it, or move it until it is done."""
        record = self.state.read().record
        if record.lease is None or record.lease.until <= self.clock.now():
            return self._move(change, desk.current(record).plan, watch, until=is_done)
        holder = record.lease.holder
        self.engine(desk.current(record).plan, watch).ask(change)
        deadline = self.clock.monotonic() + ANSWERED_WITHIN
        while self.clock.monotonic() < deadline:
            rollout = desk.current(self.state.read().record)
            if is_done(rollout.progress) or rollout.progress.rests:
                return rollout
            self.clock.sleep(self.ground.glance)
        raise RolloutStuck(f"{holder} did not do it in {ANSWERED_WITHIN:g} s; take over with: quadra canary rollback")

    def ask(self, change: Order) -> Rollout:
        """Ask something of the rollout that whoever moves it does at their next look."""
        return desk.current(self.engine(Plan(), unseen).ask(change))

    def resume(self, watch: Watch) -> Rollout:
        """Tell the process that moves the rollout to go on, or go on in its place once its lease is over."""
        record = self.state.read().record
        rollout, lease = desk.current(record), record.lease
        if lease is not None and lease.until > self.clock.now():
            if rollout.progress.phase is Phase.WATCH:
                rollout = self.ask(desk.resumed)
            if self._renews(lease.until):
                return rollout
        return self._move(_resumed, rollout.plan, watch)

    def monitor(self, seconds: float, watch: Watch) -> Rollout:
        """Watch the rollout for some seconds: as its mover where there is none, else over the mover's shoulder."""
        ends = self.clock.monotonic() + seconds
        record = self.state.read().record
        if record.lease is None or record.lease.until <= self.clock.now():
            plan = desk.current(record).plan
            return self._move(lambda found: found, plan, watch, until=lambda at: self.clock.monotonic() >= ends)
        while self.clock.monotonic() < ends:
            self.clock.sleep(min(1.0, max(0.0, ends - self.clock.monotonic())))
            rollout = desk.current(self.state.read().record)
            watch(rollout, Observation(self.route()))
            if rollout.progress.rests:
                break
        return desk.current(self.state.read().record)

    def _renews(self, until: float) -> bool:
        """Tell whether somebody renews the lease that ends at ``until``: wait for that, or for its end."""
        while self.clock.now() < until:
            self.clock.sleep(0.1)
            lease = self.state.read().record.lease
            if lease is not None and lease.until > until:
                return True
        return False

    def rollback(self, because: str, watch: Watch) -> Rollout:
        """Take the rollout over from whoever moves it, and go back."""
        plan = desk.current(self.state.read().record).plan
        return self._move(lambda record: desk.going_back(record, because), plan, watch, by_force=True)

    def engine(self, plan: Plan, watch: Watch, hook: Hook = ignore) -> Engine:
        """Return an engine for this place."""
        ground = self.ground
        ports = Ports(ground.traffic, ground.workload, ground.evidence(plan), ground.state, ground.outside)
        return Engine(ports, holder=holder(), clock=self.clock, hook=hook, watch=watch, glance=ground.glance)

    def _move(
        self,
        change: Order,
        plan: Plan,
        watch: Watch,
        *,
        until: Until = lambda at: False,
        by_force: bool = False,
    ) -> Rollout:
        """Change the record, become its holder and move the rollout on."""
        webhooks = Webhooks(plan.notify) if plan.notify else None
        hook = fan_out(self.hook, webhooks) if webhooks else self.hook
        try:
            engine = self.engine(plan, watch, hook)
            engine.lease(change, by_force=by_force)
            return engine.run(until)
        except ObjectMissing as gone:
            raise RolloutStuck(f"{gone}; put it back, then: resume or rollback") from gone
        finally:
            if webhooks:
                webhooks.close()


def holder() -> str:
    """Return how this process is named in a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def shares(route: Route) -> str:
    """Return a route in words."""
    return ", ".join(f"{version} {share:g} %" for version, share in sorted(route.weights.items()))


def unattended(plan: Plan) -> Plan:
    """Return the plan without its questions."""
    return replace(plan, steps=tuple(replace(step, approve=False) for step in plan.steps))


def unseen(rollout: Rollout, seen: Observation) -> None:
    """Show nothing."""


def _resumed(record: Record) -> Record:
    """Return the record of a rollout that goes on in its direction."""
    return record if desk.is_going_back(record) else desk.resumed(record)
