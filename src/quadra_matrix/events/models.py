"""What the models of the ready service announce."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class ModelPublished(Event):
    """A trained model became a version."""

    model: str
    version: int
    engine: str


@dataclass(frozen=True, slots=True)
class AliasMoved(Event):
    """A name points at another version of a model."""

    model: str
    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class Predicted(Event):
    """A version answered a request."""

    model: str
    version: int
    rows: int
    seconds: float
