"""What features announce (frozen values), and the hook they announce it to.

A feature takes ``hook: Hook = ignore`` and calls it with a value defined here, outside its locks. It never knows who
listens; telemetry turns each value into a metric, a span event and a log line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything that is announced. Names are past tense: something happened."""


@dataclass(frozen=True, slots=True)
class ResponseBroke(Event):
    """An answer of a validated view broke its schema and was sent all the same."""

    endpoint: str
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrafficShifted(Event):
    """A version was given another share of the requests."""

    rollout: str
    version: str
    asked: float
    """Percent."""
    share: float
    """Percent that the traffic layer reports."""


@dataclass(frozen=True, slots=True)
class RolloutMoved(Event):
    """A rollout entered a phase."""

    rollout: str
    rollout_kind: str
    stable: str
    candidate: str
    phase: str
    step: int
    because: str
    """Why it turned back or is held; empty on the way forward."""


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


Hook = Callable[[Event], None]
"""Receives every event of a feature, in order, on the thread where it happened. It should return at once."""


def ignore(event: Event) -> None:
    """Drop the event: the default hook."""


def fan_out(*hooks: Hook) -> Hook:
    """Return a hook that passes each event to all ``hooks``; one that raises is logged and harms nobody."""

    def announce(event: Event) -> None:
        for hook in hooks:
            try:
                hook(event)
            except Exception:  # the edge of a hook: a listener must never break the feature it watches
                log.exception("a listener failed on %s", type(event).__name__)

    return announce


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


@dataclass(frozen=True, slots=True)
class CertificateSwapped(Event):
    """A server offers another certificate from now on. ``expires`` is in seconds since the epoch."""

    certificate: str
    serial: str
    expires: float


@dataclass(frozen=True, slots=True)
class CertificateSwapFailed(Event):
    """New certificate files cannot be used; the last good ones go on serving."""

    certificate: str
    reason: str


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A client connected and no TLS connection came of it."""

    peer: str
    reason: str
