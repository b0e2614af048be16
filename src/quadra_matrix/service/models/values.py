"""What passes between reading data, training, the registry and those who watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quadra_matrix.store.models import Engine, Feature, Kind, Task

if TYPE_CHECKING:
    from quadra_matrix.service.models.request import Data

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands."""

    phase: str
    """``loading``, ``cross-validating``, ``fitting``, ``evaluating``, ``exporting``, ``publishing`` or ``done``."""
    fraction: float
    """From 0 to 1; it never goes back."""
    metrics: Mapping[str, float]
    """What is measured so far."""


Report = Callable[[Progress], None]
"""Receives progress on the training thread. What it raises ends the training; nothing is published then."""


@dataclass(frozen=True, slots=True)
class Published:
    """A training that ended well."""

    model: str
    version: int
    metrics: Mapping[str, float]
    engine: Engine
    aliases: tuple[str, ...]
    """Names that point at the new version."""


@dataclass(frozen=True, slots=True)
class Column:
    """A named column. Numbers and flags are float64 (NaN where missing), categories are str ("" where missing)."""

    name: str
    kind: Kind
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, and where they came from."""

    name: str
    """How to call the data: ``breast_cancer``, ``inline`` or the name of an upload."""
    fingerprint: str
    """SHA-256 over the content, as hex digits."""
    columns: tuple[Column, ...]
    rows: int

    def column(self, name: str) -> Column | None:
        """Return one column, or None."""
        return next((column for column in self.columns if column.name == name), None)


class DataSource(Protocol):
    """Where training finds its rows."""

    def load(self, wanted: Data) -> Table:
        """Return the table that a request names. Raises ``UnknownDataset`` or ``BadDataset``."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows as a model takes them: its numbers and flags in one matrix, its categories in another."""

    numeric: Floats
    categorical: NDArray[Any]
    """Objects of type str."""

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, rows: NDArray[np.intp] | slice) -> Inputs:
        """Return some of the rows."""
        return Inputs(self.numeric[rows], self.categorical[rows])

    def padded(self, copies: int) -> Inputs:
        """Return the rows and so many copies of the last one."""
        if not copies:
            return self
        return Inputs(_padded(self.numeric, copies), _padded(self.categorical, copies))


def _padded(matrix: NDArray[Any], copies: int) -> NDArray[Any]:
    return np.concatenate((matrix, matrix[-1:].repeat(copies, axis=0)))


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows with what they should predict."""

    task: Task
    features: tuple[Feature, ...]
    inputs: Inputs
    target: NDArray[Any]
    """Index into ``classes`` for a classification, else the number."""
    classes: tuple[str | int | float | bool, ...]
    dropped: int
    """Rows left out because their target is missing."""


class Scorer(Protocol):
    """A model in memory. May be shared between threads."""

    def scores(self, inputs: Inputs) -> Floats:
        """Return a line for each row: the probabilities of the classes, or the one number of a regression."""
