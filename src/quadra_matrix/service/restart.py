"""When a part of the service that died is started again: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 0.5
"""Seconds before the first restart; each further one waits twice as long."""

LONGEST_PAUSE = 30.0
"""Seconds that a pause never exceeds."""

STEADY = 60.0
"""Seconds of life after which earlier deaths are forgotten."""


@dataclass(frozen=True, slots=True)
class Death:
    """One end of a part that nobody asked for."""

    in_a_row: int
    at: float

    @property
    def restart_at(self) -> float:
        """When the part is started again, in the time of ``at``."""
        return self.at + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.in_a_row - 1, 30))


def death(last: Death | None, *, started: float, now: float) -> Death:
    """Return the death of a part that lived from ``started`` to ``now``, counted together with those just before."""
    if last is None or now - started >= STEADY:
        return Death(1, now)
    return Death(last.in_a_row + 1, now)
