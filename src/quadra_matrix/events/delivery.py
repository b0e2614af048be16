"""What rollouts announce."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class TrafficShifted(Event):
    """A version was given another share of the requests."""

    rollout: str
    version: str
    asked: float
    """Percent."""
    share: float
    """Percent that the traffic layer reports."""


@dataclass(frozen=True, slots=True)
class RolloutMoved(Event):
    """A rollout entered a phase."""

    rollout: str
    rollout_kind: str
    stable: str
    candidate: str
    phase: str
    step: int
    because: str
    """Why it turned back or is held; empty on the way forward."""
