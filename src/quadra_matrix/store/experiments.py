"""What lasts of experiments: versions of definitions, exposures and conversions. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Recorded:
    """Versions of experiments as JSON holds them, oldest first, and the position to ask from the next time."""

    position: int
    records: Sequence[Mapping[str, Any]]


class ExposureRow(NamedTuple):
    """A unit that was served a variant. A tuple: a busy service writes thousands a second."""

    ts: int
    """Microseconds since the epoch."""
    experiment: str
    phase: int
    variant: str
    unit: str
    covariate: float | None


class ConversionRow(NamedTuple):
    """One value of one metric; all values of one conversion share ``event_id``."""

    ts: int
    """Microseconds since the epoch."""
    event_id: str
    experiment: str
    phase: int
    variant: str
    unit: str | None
    metric: str
    value: float | None
