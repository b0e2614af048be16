"""What the framework asks of a store: files by default, the service's database in the ready service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from quadra_matrix.experiments.definition import Definition
from quadra_matrix.experiments.log import Sink

if TYPE_CHECKING:
    from quadra_matrix.experiments.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Changes:
    """Versions of experiments, oldest first, and the position to ask from the next time."""

    position: int
    definitions: Sequence[Definition]


class Store(Protocol):
    """Where experiments and their events last. May be shared between threads and processes."""

    def changes(self, after: int) -> Changes:
        """Return the versions recorded behind a position; 0 asks for all."""

    def record(self, definition: Definition) -> None:
        """Keep a version durably; raise ``ExperimentConflict`` unless it follows the last of its experiment."""

    def sink(self) -> Sink:
        """Return where events are written: the columns that ``segments`` names, as files or tables."""

    def warehouse(self) -> Warehouse:
        """Return where the written events are counted."""
