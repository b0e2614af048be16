"""What a fault is to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import Undo
from quadra_matrix.clock import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault is put in place."""

    address: str
    """``host:port`` that clients connect to; behind the faults that were armed before this one."""
    pid: int | None
    """The target's process, where it is known."""
    lease: float
    """Seconds after which a fault that can end by itself does, unless it is renewed."""
    seed: int
    private: tuple[int, ...]
    """File descriptors that a forked child must close: their end tells of this process's."""
    folder: Path
    """For files of this run; short enough for a socket's path."""
    clock: Clock = SYSTEM_CLOCK


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Armed:
    """A fault that is ready: its undo is known, and nothing is harmed yet."""

    undo: Undo
    inject: Callable[[], None]
    """Put the fault in place. Raises ``FaultFailed``."""
    dose: Callable[[Sequence[Sample], Sequence[Sample]], Dose]
    """Measure what arrived, from the probes before and during the fault or by the fault's own means."""
    renew: Callable[[], None] | None = None
    """Renew a fault that ends by itself. Raises ``OSError``."""
    lift: Callable[[], None] = nothing
    """Take the fault back from within this process, before its undo is carried out and read back."""
    close: Callable[[], None] = nothing
    """Free what arming took, after the fault is gone."""
    address: str | None = None
    """``host:port`` where clients meet the fault; None: where they did before."""


class Fault(Protocol):
    """Something that can be broken on purpose: a frozen dataclass of its options."""

    @property
    def fault(self) -> str:
        """Its kind, such as ``latency``."""

    def lacks(self, scene: Scene) -> str | None:
        """Return what this machine or target lacks for it; None if nothing."""

    def arm(self, scene: Scene) -> Armed:
        """Get everything ready without harming anything. Raises ``FaultFailed``."""
