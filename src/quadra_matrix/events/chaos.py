"""What chaos experiments announce."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class ChaosPhaseBegan(Event):
    """A run of an experiment entered a phase."""

    experiment: str
    run: str
    phase: str


@dataclass(frozen=True, slots=True)
class FaultInjected(Event):
    """A fault was put in place."""

    experiment: str
    run: str
    fault: str


@dataclass(frozen=True, slots=True)
class FaultLifted(Event):
    """A fault was read at its source as gone."""

    experiment: str
    run: str
    fault: str


@dataclass(frozen=True, slots=True)
class ChaosJudged(Event):
    """A run of an experiment ended with a verdict."""

    experiment: str
    run: str
    verdict: str
    because: str
