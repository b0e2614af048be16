"""Model experiments: an alias that is an experiment over versions of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments.definition import Definition, Status
from quadra_matrix.experiments.experiment import Experiment
from quadra_matrix.experiments.framework import ABTestingFramework

VERSION = "model_version"
"""The key in a variant's config that names the version to serve."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which version answers for a unit; what to report with an outcome."""

    version: str
    experiment: str
    variant: str
    in_experiment: bool
    """Whether the answer counts as an exposure."""


class ModelExperiment:
    """The experiment behind one alias of one model. May be shared between threads."""

    def __init__(self, framework: ABTestingFramework, model: str, alias: str) -> None:
        self._framework, self.name = framework, experiment_name(model, alias)

    def create(self, champion: str, challengers: Mapping[str, float], **options: Any) -> Experiment:
        """Create the draft: the champion is the control, each challenger gets its share (0 to 1) of the units."""
        rest = 1.0 - sum(challengers.values())
        if not challengers or rest <= 0:
            raise InvalidValue("challengers", dict(challengers), "shares that leave some to the champion")
        weights = {champion: rest, **challengers}
        variants = [{"name": each, "weight": weight, "config": {VERSION: each}} for each, weight in weights.items()]
        return self._framework.create_experiment(self.name, variants, **options)

    def choose(self, unit: str, attributes: Mapping[str, Any] | None = None) -> ModelChoice | None:
        """Return the version for a unit, and count the exposure; None where the alias is no experiment by now.

        A draft and an experiment that ended without a winner leave the alias to whoever resolves it.
        """
        definition = self._framework.find(self.name)
        if definition is None or not _serves(definition):
            return None
        answer = self._framework.get_variant(self.name, unit, attributes)
        version = str(answer["config"][VERSION])
        return ModelChoice(version, self.name, answer["variant_name"], answer["in_experiment"])


PREFIX = "model "


def experiment_name(model: str, alias: str) -> str:
    """Return the name of the experiment behind an alias."""
    return f"{PREFIX}{model}@{alias}"


def alias_of(experiment: str) -> tuple[str, str] | None:
    """Return the model and the alias that an experiment of this name stands behind, or None."""
    model, at, alias = experiment.removeprefix(PREFIX).partition("@")
    return (model, alias) if experiment.startswith(PREFIX) and at else None


def _serves(definition: Definition) -> bool:
    """Tell whether an experiment says which version to serve."""
    if not all(VERSION in variant.config for variant in definition.variants):
        return False
    return definition.status in {Status.RUNNING, Status.PAUSED} or definition.winner is not None
