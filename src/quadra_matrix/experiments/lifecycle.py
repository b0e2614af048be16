"""The moves of an experiment's life: each takes a version and returns the next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quadra_matrix.errors import ExperimentStateError, require
from quadra_matrix.experiments.definition import Definition, Phase, Status, is_number


def start(definition: Definition, now: float) -> Definition:
    """Run a draft, or go on after a pause."""
    _require_status(definition, "start", Status.DRAFT, Status.PAUSED)
    phases = definition.phases or (Phase(1, definition.weights, now),)
    return _next(definition, now, status=Status.RUNNING, phases=phases, reason="started")


def pause(definition: Definition, now: float, reason: str = "paused") -> Definition:
    """Serve the control to everyone and count nothing, until the next start."""
    _require_status(definition, "pause", Status.RUNNING)
    return _next(definition, now, status=Status.PAUSED, reason=reason)


def complete(definition: Definition, now: float, winner: str | None = None, reason: str = "completed") -> Definition:
    """End the experiment; every unit it was for gets the winner, or the control without one."""
    _require_status(definition, "complete", Status.RUNNING, Status.PAUSED)
    return _next(definition, now, status=Status.COMPLETED, winner=winner, reason=reason)


def reweight(definition: Definition, weights: Mapping[str, float], now: float) -> Definition:
    """Open a phase with new weights, one for each variant; 0 gives a variant no new units."""
    _require_status(definition, "reweight", Status.RUNNING, Status.PAUSED)
    names = [variant.name for variant in definition.variants]
    require(set(weights) == set(names), "weights", dict(weights), f"one number for each of {names}")
    fresh = tuple(weights[name] for name in names)
    require(
        all(map(is_number, fresh)) and min(fresh) >= 0 < sum(fresh), "weights", dict(weights), "0 or more, not all 0"
    )
    phase = Phase(len(definition.phases) + 1, fresh, now)
    return _next(definition, now, phases=(*definition.phases, phase), reason="reweighted")


def cover(definition: Definition, coverage: float, now: float) -> Definition:
    """Use another share of every variant's range: more only adds units, less restores the earlier set."""
    _require_status(definition, "change the coverage of", Status.DRAFT, Status.RUNNING, Status.PAUSED)
    return _next(definition, now, coverage=coverage, reason="coverage changed")


def _next(definition: Definition, now: float, **changes: Any) -> Definition:
    """Return the next version."""
    return replace(definition, version=definition.version + 1, changed_at=now, **changes)


def _require_status(definition: Definition, move: str, *allowed: Status) -> None:
    """Refuse a move that the status does not allow."""
    if definition.status not in allowed:
        raise ExperimentStateError(definition.name, definition.status, move, tuple(allowed))
