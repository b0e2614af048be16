"""Which traces are recorded: decided before anything is built for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quadra_matrix.errors import require
from quadra_matrix.telemetry.propagation import Remote

HALF = 1 << 64
Bits = Callable[[int], int]
"""Returns that many random bits. The default is seeded again in a forked child, so no two processes share ids."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Record the part ``ratio`` of the traces, decided by the lower half of the trace id.

    OpenTelemetry's ``TraceIdRatioBased`` has the same rule, so every service with the same ratio keeps the same traces.
    """

    ratio: float
    follows_caller: bool = True
    bits: Bits = random.getrandbits

    bound: int = field(init=False)
    """The first lower half of a trace id that is not recorded."""

    def __post_init__(self) -> None:
        require(0 <= self.ratio <= 1, "ratio", self.ratio, "from 0 to 1")
        object.__setattr__(self, "bound", round(self.ratio * HALF))

    def records(self, remote: Remote) -> bool:
        """Tell whether a trace that began elsewhere is recorded here."""
        if self.follows_caller and remote.is_sampled is not None:
            return remote.is_sampled
        return remote.trace_id % HALF < self.bound

    def new_trace(self) -> tuple[int, bool]:
        """Return the id of a trace that begins here, and whether it is recorded."""
        lower = self.bits(64)
        return (self.bits(64) << 64 | lower) or 1, lower < self.bound

    def recorded_trace(self) -> int:
        """Return the id of a trace that begins here and was chosen to be recorded: one that the rule chooses too."""
        return (self.bits(64) << 64 | (self.bits(64) * self.bound >> 64)) or 1

    def new_span(self) -> int:
        """Return the id of a span."""
        return self.bits(64) or 1
