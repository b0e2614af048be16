"""The machine against a slow, obvious model: every call is remembered, every decision looks at all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quadra_matrix.breaker.machine import Policy
from quadra_matrix.breaker.window import FailureRate
from tests.breaker.bench import Bench

rates = st.builds(FailureRate, st.sampled_from([0.4, 0.6, 1.0]), calls=st.integers(4, 8), minimum=st.integers(1, 4))


@dataclass
class Model:
    """The same circuit, written to be read."""

    threshold: int
    rate: FailureRate | None
    recovery: float
    permits: int
    needed: int
    trials: int
    deadline: float
    state: str = "closed"
    outcomes: list[bool] = field(default_factory=list)
    trial: list[bool] = field(default_factory=list)
    probes: dict[int, float] = field(default_factory=dict)
    reopens_at: float = 0.0

    def enter(self, state: str, now: float) -> None:
        self.state, self.outcomes, self.trial, self.probes = state, [], [], {}
        self.reopens_at = now + self.recovery

    def admits(self, now: float) -> bool:
        if self.state == "open" and now >= self.reopens_at:
            self.enter("half_open", now)
        if self.state == "half_open":
            self.probes = {call: began for call, began in self.probes.items() if now < began + self.deadline}
            return len(self.probes) < self.permits
        return self.state == "closed"

    def end_call(self, passed: bool, now: float) -> None:
        self.outcomes.append(passed)
        in_a_row = self.outcomes[-self.threshold :]
        if len(in_a_row) == self.threshold and not any(in_a_row):
            self.enter("open", now)
        elif self.rate is not None and self.rate.calls is not None:
            window = self.outcomes[-self.rate.calls :]
            if len(window) >= self.rate.minimum and window.count(False) / len(window) >= self.rate.rate:
                self.enter("open", now)

    def end_probe(self, passed: bool, now: float) -> None:
        self.trial.append(passed)
        if self.trial.count(True) >= self.needed:
            self.enter("closed", now)
        elif self.trial.count(False) > self.trials - self.needed:
            self.enter("open", now)


class AgainstTheModel(RuleBasedStateMachine):
    """Calls start, end in any order, and time passes; machine and model must agree after every step."""

    @initialize(
        threshold=st.integers(1, 4),
        rate=st.none() | rates,
        permits=st.integers(1, 3),
        needed=st.integers(1, 3),
        spare=st.integers(0, 2),
        deadline=st.sampled_from([2.0, 10.0]),
    )
    def start(
        self, threshold: int, rate: FailureRate | None, permits: int, needed: int, spare: int, deadline: float
    ) -> None:
        self.bench = Bench(
            Policy(
                failure_threshold=threshold,
                rules=[rate] if rate else [],
                recovery_timeout=10,
                success_threshold=needed,
                trial_calls=needed + spare,
                half_open_permits=permits,
                probe_timeout=deadline,
            )
        )
        self.model = Model(threshold, rate, 10.0, permits, needed, needed + spare, deadline)
        self.era = 0
        self.running: list[tuple[int, int, bool]] = []  # ticket, era in which it began, is a probe
        self.eras = [self.bench.machine.era]

    @rule()
    def begin(self) -> None:
        admits = self.model.admits(self.bench.now)

        ticket = self.bench.admit()

        assert (ticket is not None) == admits
        self.note_era()
        if ticket is not None:
            is_probe = self.model.state == "half_open"
            if is_probe:
                self.model.probes[ticket] = self.bench.now
            self.running.append((ticket, self.era, is_probe))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ending=st.sampled_from(["pass", "fail", "neither"]))
    def end(self, data: st.DataObject, ending: str) -> None:
        ticket, era, is_probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))

        if ending == "pass":
            self.bench.succeed(ticket)
        elif ending == "fail":
            self.bench.fail(ticket)
        else:
            self.bench.machine.release(ticket)

        if era == self.era and is_probe:
            if self.model.probes.pop(ticket, None) is not None and ending != "neither":
                self.model.end_probe(ending == "pass", self.bench.now)
        elif era == self.era and ending != "neither":
            self.model.end_call(ending == "pass", self.bench.now)
        self.note_era()

    @precondition(lambda self: self.bench.machine.calm == self.bench.machine.era)
    @rule(calls=st.integers(1, 9))
    def fast_successes(self, calls: int) -> None:
        """What the wrapper does while the circuit is calm: it only counts."""
        self.bench.successes += calls
        for _ in range(calls):
            self.model.end_call(True, self.bench.now)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule()
    def travel_through_json(self) -> None:
        kept = json.loads(json.dumps(self.bench.machine.dump()))
        copy = Bench(self.bench.machine._policy, now=self.bench.now)
        copy.successes = self.bench.successes
        copy.machine.load(kept)

        assert copy.machine.calm == self.bench.machine.calm
        self.bench = copy

    def note_era(self) -> None:
        if self.bench.machine.era != self.eras[-1]:
            self.eras.append(self.bench.machine.era)
            self.era += 1

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.bench.machine.state.label == self.model.state
        assert len(set(self.eras)) == len(self.eras), "an era came back"
        assert len(self.bench.machine.probes) <= self.model.permits


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
