"""What backing up announces."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class BackupMade(Event):
    """A backup was made, verified and stored. ``size`` is in bytes."""

    name: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BackupFailed(Event):
    """A scheduled backup was not made; the next attempt follows."""

    reason: str
