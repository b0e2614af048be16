"""What experiments announce."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class ExperimentChanged(Event):
    """An experiment was created or moved on in its life."""

    experiment: str
    status: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class ExperimentDecided(Event):
    """A sequential test of an experiment reached a decision, or a guardrail was harmed."""

    experiment: str
    decision: str
    variant: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ExperimentLogStalled(Event):
    """Events of experiments cannot be written; they wait in memory, and requests go on."""

    reason: str
    waiting: int


@dataclass(frozen=True, slots=True)
class ExperimentLogRecovered(Event):
    """Events of experiments are written again; ``dropped`` were lost because memory was full."""

    written: int
    dropped: int
