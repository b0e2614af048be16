"""A machine on the bench: with the counter and the clock that its owner keeps."""

from __future__ import annotations

from quadra_matrix.breaker.machine import Machine, Policy, State


class Bench:
    """A machine and the counter that its owner keeps."""

    def __init__(self, policy: Policy, *, chance: float = 0.0, now: float = 100.0) -> None:
        self.successes = 0
        self.now = now
        self.machine = Machine(policy, now, successes=lambda: self.successes, chance=lambda: chance)

    def admit(self) -> int | None:
        return self.machine.admit(self.now)

    def admitted(self) -> int:
        ticket = self.admit()
        assert ticket is not None
        return ticket

    def succeed(self, ticket: int | None = None, elapsed: float = 0.0) -> None:
        ticket = self.admitted() if ticket is None else ticket
        if self.machine.is_current(ticket):
            self.successes += 1
            self.machine.succeed(ticket, self.now, elapsed)

    def fail(self, ticket: int | None = None, elapsed: float = 0.0, open_for: float | None = None) -> None:
        self.machine.fail(self.admitted() if ticket is None else ticket, self.now, elapsed, open_for)

    def state(self) -> State:
        return self.machine.state

    def opened_for(self) -> float:
        return self.machine.until - self.now
