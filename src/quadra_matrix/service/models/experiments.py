"""Aliases that are experiments: which version answers a unit, and what happens to the alias in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from quadra_matrix.errors import DatabaseUnavailable, UnknownModel, require
from quadra_matrix.events import Event
from quadra_matrix.events.experiments import ExperimentChanged
from quadra_matrix.experiments import ABTestingFramework, Experiment
from quadra_matrix.experiments.definition import Status
from quadra_matrix.experiments.model import VERSION, ModelChoice, ModelExperiment, alias_of, experiment_name
from quadra_matrix.service.models.registry import PRODUCTION, Registry

log = logging.getLogger(__name__)


class ModelExperiments:
    """Champion and challengers behind the aliases of a registry. May be shared between threads."""

    def __init__(
        self, framework: ABTestingFramework, registry: Registry, changes: Callable[[], int] = lambda: 0
    ) -> None:
        """``changes`` counts what any process of this machine changed about experiments."""
        self._framework, self._registry, self._changes = framework, registry, changes
        self._seen = 0

    def create(self, model: str, alias: str, challengers: Mapping[int, float], **options: Any) -> Experiment:
        """Create the draft: whatever version the alias points at now against ``challengers``, version to share.

        Raises ``UnknownModel`` for a version that is not there, ``InvalidValue`` for shares that leave the champion
        nothing.
        """
        champion = self._registry.find(model, alias=alias).version
        require(champion not in challengers, "challengers", champion, "other versions than the champion's")
        for version in challengers:
            self._registry.find(model, version=version)
        shares = {str(version): share for version, share in challengers.items()}
        return ModelExperiment(self._framework, model, alias).create(str(champion), shares, **options)

    def choose(self, model: str, alias: str | None, unit: str) -> ModelChoice | None:
        """Return the version for a unit, and count the exposure; None where the alias alone decides.

        It does before the start and after the end: a winner has become what the alias points at.
        """
        alias = alias or PRODUCTION
        changes = self._changes()
        if changes != self._seen:
            self._learn()
            self._seen = changes
        definition = self._framework.find(experiment_name(model, alias))
        if definition is None or definition.status is Status.COMPLETED:
            return None
        return ModelExperiment(self._framework, model, alias).choose(unit)

    def _learn(self) -> None:
        """Read what changed; while the database is away, what is known goes on to hold."""
        try:
            self._framework.refresh()
        except DatabaseUnavailable as away:
            log.warning("experiments are served as last known, the database is away: %s", away)

    def version_of(self, model: str, choice: ModelChoice) -> int:
        """Return the number of the chosen version."""
        if not choice.version.isdecimal():
            raise UnknownModel(f"version {choice.version!r} of model {model!r}", ())
        return int(choice.version)

    def hear(self, event: Event) -> None:
        """Point the alias at the winner of a model experiment that ends; a ``Hook`` of the framework.

        Raises where the alias cannot be moved; the experiment has ended then, and the alias serves as before.
        """
        if not isinstance(event, ExperimentChanged) or event.status != Status.COMPLETED:
            return
        found, definition = alias_of(event.experiment), self._framework.find(event.experiment)
        if found is None or definition is None or definition.winner is None:
            return
        version = str(definition.variant(definition.winner).config.get(VERSION, ""))
        if version.isdecimal():
            self._registry.move(*found, int(version))
