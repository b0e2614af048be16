"""Experiments as objects with ``run``: the promised classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quadra_matrix.chaos import planfile, suite
from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.functions import Functions
from quadra_matrix.chaos.history import as_document
from quadra_matrix.chaos.model import Experiment
from quadra_matrix.chaos.outcome import Outcome
from quadra_matrix.chaos.report import has_recovered
from quadra_matrix.errors import InvalidValue

HOLD = 30.0
"""Seconds a fault stays where nobody says otherwise."""
FOLDER = Path("quadra-data/chaos")
"""Where the journal is, as for the command."""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """How an experiment ended."""

    outcome: Outcome
    """Everything that is known of it."""

    @property
    def experiment_name(self) -> str:
        """Return the experiment's name."""
        return self.outcome.experiment

    @property
    def success(self) -> bool:
        """Tell whether the fault arrived and the service bore it, or recovered."""
        return self.outcome.verdict.is_pass

    @property
    def recovered(self) -> bool:
        """Tell whether the service was shown to be as before."""
        return has_recovered(self.outcome)

    @property
    def duration_seconds(self) -> float:
        """Return how long the whole run took."""
        return self.outcome.seconds

    @property
    def error(self) -> str | None:
        """Return why it did not pass."""
        return None if self.success else f"{self.outcome.verdict}: {self.outcome.because}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return as_document(self.outcome)


class ChaosExperiment:
    """An experiment that can be run, again and again. For one thread."""

    def __init__(self, experiment: Experiment, around: Surroundings | None) -> None:
        self.name = experiment.name
        self._experiment = experiment
        self._around = around or Surroundings(FOLDER)

    def run(self, duration_seconds: float = HOLD) -> ExperimentResult:
        """Keep the fault in place for so long, take it back, and say how the service did.

        Blocks for longer than that: for the baseline before it, and until recovery is shown or its time is over.
        """
        return ExperimentResult(run(replace(self._experiment, hold=duration_seconds), self._around))


class LatencyInjectionExperiment(ChaosExperiment):
    """Hold every answer of a service back, by a proxy that the probes pass."""

    def __init__(
        self,
        name: str,
        target_url: str = suite.BASE_URL,
        latency_ms: float = 1000,
        *,
        around: Surroundings | None = None,
    ) -> None:
        target = suite.target_at(target_url)
        super().__init__(suite.latency(latency_ms, target, HOLD, name), around)


class ResourceExhaustionExperiment(ChaosExperiment):
    """Use up the processors or the memory of a service on this machine."""

    def __init__(
        self,
        name: str,
        resource_type: str = "memory",
        exhaust_percentage: float = 80,
        target_url: str = suite.BASE_URL,
        *,
        around: Surroundings | None = None,
    ) -> None:
        if resource_type not in {"cpu", "memory"}:
            raise InvalidValue("resource_type", resource_type, "cpu or memory")
        target = suite.target_at(target_url)
        super().__init__(suite.resource(resource_type, exhaust_percentage, target, HOLD, name), around)


class ServiceFailureExperiment(ChaosExperiment):
    """Break a service by one function and mend it by another, which is called whatever happens."""

    def __init__(
        self,
        name: str,
        failure_function: Callable[[], object],
        recovery_function: Callable[[], object],
        target_url: str = suite.BASE_URL,
        *,
        is_broken: Callable[[], bool] | None = None,
        around: Surroundings | None = None,
    ) -> None:
        fault = Functions(failure_function, recovery_function, is_broken)
        super().__init__(Experiment(name, (fault,), suite.target_at(target_url)), around)


class DependencyFailureExperiment(ChaosExperiment):
    """Take a dependency away from a service: by a proxy between them, or by functions that stop and start it."""

    def __init__(
        self,
        name: str,
        dependency: str | None = None,
        listen: str | None = None,
        *,
        kind: str = "http",
        failure_function: Callable[[], object] | None = None,
        recovery_function: Callable[[], object] | None = None,
        is_broken: Callable[[], bool] | None = None,
        target_url: str = suite.BASE_URL,
        around: Surroundings | None = None,
    ) -> None:
        """Take ``dependency`` (``host:port``) away from a service that was told to find it at ``listen``.

        ``kind`` is ``http``, ``redis`` or ``postgres``. Of two functions, the first stops it and the second starts it.
        """
        target = suite.target_at(target_url)
        if failure_function is not None and recovery_function is not None:
            functions = Functions(failure_function, recovery_function, is_broken)
            super().__init__(Experiment(name, (functions,), target), around)
            return
        if dependency is None or listen is None:
            raise InvalidValue("dependency", dependency, "host:port, with listen; or else two functions")
        fault = {"fault": "away", "dependency": dependency, "listen": listen, "kind": kind}
        super().__init__(replace(planfile.parse({"name": name, "faults": [fault]}), target=target), around)
