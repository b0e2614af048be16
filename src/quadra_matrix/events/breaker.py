"""What circuit breakers announce."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """A breaker stopped letting calls through."""

    name: str
    because: str
    failures: int
    """Failures counted since the circuit last changed."""
    open_for: float | None
    """Seconds until the first probe."""
    is_shadow: bool = False
    """True if nothing was refused: the breaker only reports what it would have done."""


@dataclass(frozen=True, slots=True)
class CircuitHalfOpened(Event):
    """A breaker began to let probes through."""

    name: str
    because: str
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """A breaker lets every call through again."""

    name: str
    because: str
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class CircuitOverridden(Event):
    """An operator put a circuit under another mode, or handed it back to its rules."""

    name: str
    mode: str
    state: str


@dataclass(frozen=True, slots=True)
class CircuitStoreLost(Event):
    """A shared circuit cannot reach its store and decides by what its own process sees."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CircuitStoreFound(Event):
    """A shared circuit reaches its store again and follows the fleet."""

    name: str
