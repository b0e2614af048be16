"""The handle of one experiment: its latest definition, its moves and its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from quadra_matrix.experiments import lifecycle
from quadra_matrix.experiments.definition import Definition, Status

if TYPE_CHECKING:  # results bring the statistics, and nobody who only assigns variants should wait for them
    from quadra_matrix.experiments.results import Results


class Keeper(Protocol):
    """Who keeps experiments: the framework."""

    def definition(self, name: str) -> Definition:
        """Return the latest version of an experiment."""

    def change(self, name: str, move: Callable[[Definition, float], Definition]) -> Definition:
        """Record the version that a move makes of the latest one."""

    def analyse(self, name: str) -> Results:
        """Count and judge what was tracked so far."""


class Experiment:
    """One experiment of a framework. Holds nothing but its name; may be shared between threads."""

    def __init__(self, keeper: Keeper, name: str) -> None:
        self._keeper, self.name = keeper, name

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}, {self.status}>"

    @property
    def definition(self) -> Definition:
        """The latest version."""
        return self._keeper.definition(self.name)

    @property
    def status(self) -> Status:
        """Where the experiment is in its life."""
        return self.definition.status

    def start(self) -> None:
        """Run a draft, or go on after a pause."""
        self._keeper.change(self.name, lifecycle.start)

    def pause(self, reason: str = "paused") -> None:
        """Serve the control to everyone and count nothing, until the next start."""
        self._keeper.change(self.name, partial(lifecycle.pause, reason=reason))

    def complete(self, winner: str | None = None, reason: str = "completed") -> None:
        """End the experiment. A winner is served to every unit the experiment was for; nothing is counted any more."""
        self._keeper.change(self.name, partial(lifecycle.complete, winner=winner, reason=reason))

    def reweight(self, weights: Mapping[str, float]) -> None:
        """Open a phase with new weights; units exposed before keep their variant."""
        self._keeper.change(self.name, lambda latest, now: lifecycle.reweight(latest, weights, now))

    def cover(self, coverage: float) -> None:
        """Ramp: use this share (0 to 1) of every variant's range."""
        self._keeper.change(self.name, lambda latest, now: lifecycle.cover(latest, coverage, now))

    def results(self) -> Results:
        """Count and judge what was tracked so far; nothing is changed or stopped."""
        return self._keeper.analyse(self.name)
