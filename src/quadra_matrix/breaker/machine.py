"""The state machine of a circuit: eras, permits, deadlines. Pure: time, chance and the count of successes come in.

``era`` is one integer: a sequence number times four, plus the state. Every transition writes a new one. A call is
admitted with a ticket: the era itself while closed, a number of its own while half-open. A result whose ticket is no
longer current is stale and changes nothing. ``calm`` equals the era while a success cannot change anything, so a caller
may compare its ticket with ``calm`` without a lock and only count; otherwise it is -1.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quadra_matrix.breaker.window import NEVER, Rule, SlowCallRate, Tally
from quadra_matrix.errors import require


class State(enum.IntEnum):
    """The state of a circuit: the low two bits of its era, and the value of its gauge."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

    @property
    def label(self) -> str:
        """Return the name that metrics and errors show."""
        return self.name.lower()


class Mode(enum.StrEnum):
    """Who decides the state: the rules, or an operator."""

    AUTOMATIC = "automatic"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    """Every call runs; nothing is judged."""
    SHADOW = "shadow"
    """Every call runs; the rules decide and report, but refuse nobody."""


CLOSED, OPEN, DISABLED = int(State.CLOSED), int(State.OPEN), Mode.DISABLED
"""Looked up once: a member of an enum costs a look-up in its class each time."""

UNCALM = -1
PROBE = 3
"""Low bits of a probe's ticket, so that it never equals an era."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Make each opening longer than the last: ``recovery_timeout`` times ``multiplier`` for each one before it."""

    multiplier: float = 2.0
    cap: float = 600.0
    """Seconds an open circuit waits at most."""
    jitter: float = 1.0
    """Share of the wait that is left to chance: 0 none, 1 all of it, so that a fleet does not return at once."""
    decay: float = 60.0
    """Seconds closed that take back one multiplication."""

    def __post_init__(self) -> None:
        require(self.multiplier >= 1, "multiplier", self.multiplier, "1 or more")
        require(0 < self.cap < NEVER, "cap", self.cap, "above 0 seconds and finite")
        require(0 <= self.jitter <= 1, "jitter", self.jitter, "between 0 and 1")
        require(self.decay > 0, "decay", self.decay, "above 0 seconds")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the machine decides by."""

    failure_threshold: int | None = 5
    """Failures in a row that open the circuit; None leaves the decision to ``rules``."""
    recovery_timeout: float = 60.0
    """Seconds an open circuit waits before it lets a probe through."""
    rules: Sequence[Rule] = ()
    """Further rules; the first one broken opens the circuit."""
    success_threshold: int = 1
    """Successful probes that close the circuit."""
    trial_calls: int | None = None
    """Probes of which ``success_threshold`` must succeed; None means all of them: the first failure reopens."""
    half_open_permits: int = 1
    """Probes that may run at the same time."""
    probe_timeout: float | None = None
    """Seconds after which a probe counts as lost and its permit is given again; None means ``recovery_timeout``."""
    backoff: Backoff | None = None
    """How the open time grows; None keeps it fixed."""
    mode: Mode = Mode.AUTOMATIC
    """The mode in which the circuit starts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))  # a list would never equal the tuple of another asker
        threshold = self.failure_threshold
        require(threshold is None or threshold >= 1, "failure_threshold", threshold, "1 or more, or None")
        require(threshold is not None or bool(self.rules), "rules", self.rules, "given when failure_threshold is None")
        require(0 < self.recovery_timeout < NEVER, "recovery_timeout", self.recovery_timeout, "above 0 and finite")
        require(self.success_threshold >= 1, "success_threshold", self.success_threshold, "1 or more")
        trials, fewest = self.trial_calls, self.success_threshold
        require(trials is None or trials >= fewest, "trial_calls", trials, f"at least success_threshold, {fewest}")
        require(self.half_open_permits >= 1, "half_open_permits", self.half_open_permits, "1 or more")
        probe = self.probe_timeout
        require(probe is None or probe > 0, "probe_timeout", probe, "above 0 seconds")

    @property
    def failures_allowed(self) -> int:
        """Return how many probes may fail before the circuit opens again."""
        return (self.trial_calls or self.success_threshold) - self.success_threshold

    @property
    def slow_after(self) -> float:
        """Return the seconds from which some rule calls a call slow; infinite without such a rule."""
        return min((rule.slower_than for rule in self.rules if isinstance(rule, SlowCallRate)), default=NEVER)

    @property
    def has_time_window(self) -> bool:
        """Tell whether a rule looks at a period, so that a success must look at the clock."""
        return any(rule.seconds is not None for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Transition:
    """The circuit changed its state, its mode, or both."""

    before: State
    after: State
    mode: Mode
    because: str
    failures: int
    """Failures counted in the era that ended."""
    open_for: float | None = None
    """Seconds until the first probe; None unless the circuit opened for a known time."""
    by_operator: bool = False


class Machine:
    """One circuit. Not for several threads: the owner holds a lock.

    ``era``, ``calm``, ``until``, ``turn`` and ``look_at`` may be read without it. ``look_at`` is when the owner wants
    to be asked again although the circuit is closed. ``successes`` returns how many calls have succeeded so far;
    ``chance`` returns a number from 0 to 1.
    """

    __slots__ = (
        "_base", "_chance", "_failures", "_passed", "_policy", "_rounds", "_streak", "_successes", "_tallies",
        "_threshold", "calm", "changed_at", "era", "look_at", "mode", "moves", "probes", "sequence", "turn", "until",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        now: float,
        *,
        successes: Callable[[], int],
        chance: Callable[[], float],
        sequence: int = 0,
    ) -> None:
        self._policy, self._successes, self._chance = policy, successes, chance
        self._threshold = NEVER if policy.failure_threshold is None else policy.failure_threshold
        self.sequence = sequence
        self.era: int
        self.calm: int
        self._base: int
        self._failures: int
        self.until: float
        self.turn: float
        self.changed_at: float
        self.mode = policy.mode
        self.moves: list[Transition] = []
        self.probes: dict[int, float] = {}
        self._rounds = 0
        self.look_at = NEVER
        self._enter(State.OPEN if policy.mode is Mode.FORCED_OPEN else State.CLOSED, now, until=NEVER)

    @property
    def state(self) -> State:
        """Return the state as it stands; an open circuit stays open until a caller comes after its time."""
        return State(self.era & 3)

    def is_current(self, ticket: int) -> bool:
        """Tell whether a result with this ticket still counts."""
        return ticket == self.era or ticket in self.probes

    def admit(self, now: float) -> int | None:
        """Return the ticket of a call that arrives at ``now``, or None to refuse it."""
        if self.era & 3 == OPEN:
            if now < self.until:
                return None
            self._move(State.HALF_OPEN, now, "its open time is over")
        if self.era & 3 == CLOSED:
            return self.era
        self._take_back_lost_permits(now)
        if len(self.probes) >= self._policy.half_open_permits:
            return None
        ticket = self._next_number() | PROBE
        self.probes[ticket] = now
        return ticket

    def succeed(self, ticket: int, now: float, elapsed: float = 0.0) -> None:
        """Take in a success that ``successes`` already counts; ``elapsed`` is its duration in seconds."""
        if self.probes.pop(ticket, None) is not None:
            self._end_probe(now, passed=elapsed < self._policy.slow_after, open_for=None)
        elif ticket == self.era and self.mode is not DISABLED:
            self._streak = 0
            self._judge(now, elapsed, failed=False, open_for=None)

    def fail(self, ticket: int, now: float, elapsed: float = 0.0, open_for: float | None = None) -> bool:
        """Take in a failure; return False, and change nothing, if the ticket is stale.

        ``open_for`` is the open time in seconds that the dependency itself asks for.
        """
        if ticket != self.era:
            return self._fail_probe(ticket, now, open_for)
        if self.mode is not DISABLED:
            self._failures += 1
            self._streak += 1
            self.calm = UNCALM
            if self._streak >= self._threshold:
                self.open(now, f"{self._streak} failures in a row", open_for)
            elif self._tallies:
                self._judge(now, elapsed, failed=True, open_for=open_for)
        return True

    def release(self, ticket: int) -> None:
        """Take back the permit of a call that says nothing about the dependency."""
        self.probes.pop(ticket, None)

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call may be admitted; None while an operator holds the circuit open."""
        if self.probes:
            return max(0.0, min(self.probes.values()) + self._probe_timeout() - now)
        return None if self.until == NEVER else max(0.0, self.until - now)

    def override(self, mode: Mode, now: float) -> None:
        """Put the circuit under ``mode`` in a new era, closed unless it is forced open."""
        self.mode = mode
        after = State.OPEN if mode is Mode.FORCED_OPEN else State.CLOSED
        self._move(after, now, "an operator asked for it", until=NEVER, by_operator=True)

    def reset(self, now: float) -> None:
        """Start again: closed, automatic, and without a memory of earlier openings."""
        self._rounds = 0
        self.override(Mode.AUTOMATIC, now)

    def forget_probes(self) -> None:
        """Give every permit back: their holders live in another process."""
        self.probes.clear()

    def open(self, now: float, because: str, open_for: float | None) -> None:
        """Open the circuit for as long as the dependency or the policy says."""
        seconds = self._open_time(now) if open_for is None else self._capped(open_for)
        self._rounds += 1
        self._move(State.OPEN, now, because, until=now + seconds)

    def dump(self) -> dict[str, Any]:
        """Return the whole state as JSON values; times are in the seconds that came in."""
        return {
            "sequence": self.sequence, "era": self.era, "mode": str(self.mode), "until": _finite(self.until),
            "changed_at": self.changed_at, "rounds": self._rounds, "streak": self._streak, "failures": self._failures,
            "passed": self._passed, "base": self._base, "successes": self._successes(),
            "probes": [[ticket, began] for ticket, began in self.probes.items()],
            "rules": [str(tally.rule) for tally in self._tallies], "tallies": [tally.dump() for tally in self._tallies],
        }  # fmt: skip

    def load(self, kept: Mapping[str, Any]) -> None:
        """Continue from what ``dump`` returned; windows of other rules (an older release's) start empty."""
        self.sequence, self.era, self.mode = kept["sequence"], kept["era"], Mode(kept["mode"])
        self.until = NEVER if kept["until"] is None else kept["until"]
        self.changed_at, self._rounds, self._streak = kept["changed_at"], kept["rounds"], kept["streak"]
        self._failures, self._passed, self._base = kept["failures"], kept["passed"], kept["base"]
        self.probes = dict(kept["probes"])
        if kept["rules"] == [str(tally.rule) for tally in self._tallies]:
            for tally, window in zip(self._tallies, kept["tallies"], strict=True):
                tally.load(window)
        self._calm_down()

    def mirror(self, fleet: Machine, *, shift: float, now: float, because: str) -> None:
        """Follow another machine into its era; ``shift`` turns its times into this one's."""
        moved, by_operator = fleet.era != self.era, fleet.mode is not self.mode
        if moved:
            before, failures, self.mode = self.state, self._failures, fleet.mode
            self._enter(fleet.state, now, until=fleet.until + shift)
            self.era = fleet.era
            if before is not self.state or by_operator:
                self._tell(before, because, failures, self.until - now, by_operator=by_operator)
        self.until = fleet.until + shift
        self.calm = fleet.era if fleet.calm == fleet.era else UNCALM

    def _judge(self, now: float, elapsed: float, *, failed: bool, open_for: float | None) -> None:
        """Open the circuit if a window breaks its rule; after a success say whether it is calm."""
        if self._tallies:
            number = self._number()
            for tally in self._tallies:
                if tally.record(number, now, failed=failed, elapsed=elapsed):
                    self.open(now, str(tally.rule), open_for)
                    return
        if not failed:
            self._calm_down()

    def _calm_down(self) -> None:
        """Set ``calm`` and ``turn``: whether, and until when, a success changes nothing but the count."""
        is_quiet = self.era & 3 == CLOSED and self._streak == 0
        if self._tallies:
            number = self._number()
            is_quiet = is_quiet and all(tally.is_quiet(number) for tally in self._tallies)
            self.turn = min(tally.window.turn for tally in self._tallies)
        self.calm = self.era if is_quiet else UNCALM

    def _number(self) -> int:
        """Return how many calls have completed in this era."""
        return self._successes() - self._base + self._failures

    def _fail_probe(self, ticket: int, now: float, open_for: float | None) -> bool:
        """Take in a probe's failure; return False if its permit is gone."""
        if self.probes.pop(ticket, None) is None:
            return False
        self._failures += 1
        self._end_probe(now, passed=False, open_for=open_for)
        return True

    def _end_probe(self, now: float, *, passed: bool, open_for: float | None) -> None:
        """Close or open the circuit as soon as the verdict is certain."""
        if passed:
            self._passed += 1
            if self._passed >= self._policy.success_threshold:
                self._move(State.CLOSED, now, f"{self._passed} of its probes succeeded")
            return
        self._streak += 1
        if self._streak > self._policy.failures_allowed:
            self.open(now, "a probe failed", open_for)

    def _open_time(self, now: float) -> float:
        """Return the seconds of this opening, after the healthy time has taken back what it may."""
        backoff, base = self._policy.backoff, self._policy.recovery_timeout
        if backoff is None:
            return base
        if self.state is State.CLOSED:
            self._rounds = max(0, self._rounds - int((now - self.changed_at) // backoff.decay))
        # 2.0 ** 1024 overflows; the cap is reached long before
        grown = min(backoff.cap, base * backoff.multiplier ** min(self._rounds, 64))
        return grown * (1.0 - backoff.jitter * self._chance())

    def _capped(self, seconds: float) -> float:
        """Return an open time that came from outside within sane limits."""
        cap = self._policy.backoff.cap if self._policy.backoff else max(600.0, self._policy.recovery_timeout)
        return min(max(seconds, 0.0), cap)

    def _probe_timeout(self) -> float:
        """Return the seconds a probe may take."""
        return self._policy.probe_timeout or self._policy.recovery_timeout

    def _take_back_lost_permits(self, now: float) -> None:
        """Drop the permits of probes that are past their deadline; their late results are then stale."""
        deadline = now - self._probe_timeout()
        for ticket in [ticket for ticket, began in self.probes.items() if began <= deadline]:
            del self.probes[ticket]

    def _move(self, after: State, now: float, because: str, *, until: float = 0.0, by_operator: bool = False) -> None:
        """Enter a new era and note the transition."""
        before, failures = self.state, self._failures
        self._enter(after, now, until=until)
        self._tell(before, because, failures, until - now, by_operator=by_operator)

    def _tell(self, before: State, because: str, failures: int, wait: float, *, by_operator: bool) -> None:
        """Note a transition for the owner to announce once its lock is free."""
        open_for = _finite(wait) if self.state is State.OPEN else None
        self.moves.append(Transition(before, self.state, self.mode, because, failures, open_for, by_operator))

    def _enter(self, state: State, now: float, *, until: float) -> None:
        """Begin an era with empty windows and no permits."""
        self.probes.clear()
        self._streak = self._failures = self._passed = 0
        self._base = self._successes()
        self._tallies: Sequence[Tally] = [Tally(rule) for rule in self._policy.rules]
        self.turn = 0.0
        self.changed_at, self.until = now, until
        # The era comes last: who reads it without the lock must find `until` already there.
        self.calm = UNCALM
        self.era = self._next_number() | state
        if state is State.CLOSED:
            self.calm = self.era

    def _next_number(self) -> int:
        """Return a multiple of four that this machine has not used."""
        self.sequence += 4
        return self.sequence


def _finite(seconds: float) -> float | None:
    """Return the seconds, or None for a time without an end, which JSON cannot hold."""
    return None if seconds == NEVER else seconds
