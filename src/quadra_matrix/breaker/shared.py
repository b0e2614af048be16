"""A circuit that a fleet of processes shares through a store, and that goes on alone while the store is away.

The store keeps one document per circuit: the dump of a ``Machine`` whose time is the store's. Each step reads it,
lets the machine decide here, and writes it back if nobody was faster; so a fleet follows the very code that one process
follows. No lock is held in the store while a call runs, and none here during a round trip. A healthy call does not
touch the store; each process looks at it once per interval, and at every failure and probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds about one circuit."""

    now: float
    """Seconds on the store's clock."""
    version: str
    """Empty while the store holds nothing."""
    document: Mapping[str, Any] | None


class SharedStore(Protocol):
    """Where a fleet keeps its circuits. Both methods raise ``SharedStateLost`` instead of waiting long."""

    @property
    def interval(self) -> float:
        """Seconds for which a process may rely on what it saw last."""

    def read(self, name: str) -> Kept:
        """Return what is kept about the circuit, and the store's time."""

    def swap(self, name: str, version: str, document: Mapping[str, Any]) -> bool:
        """Keep ``document`` if ``version`` is still the one kept; return whether it was."""
