"""The work of a training job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quadra_matrix.service.jobs.assignment import Assignment
from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.service.models.values import Progress
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels


def run(task: Assignment) -> Mapping[str, Any]:
    """Train and publish what the job asks for; return the model, its version and what it is worth."""

    def report(progress: Progress) -> None:
        task.report(progress.phase, progress.fraction, progress.metrics)

    request = TrainingRequest.model_validate_json(json.dumps(task.request))
    published = train(
        request,
        data=Datasets(SqlDatasets(task.database), task.settings.datasets_dir),
        registry=Registry(SqlModels(task.database), task.settings.models_dir, hook=task.hook),
        report=report,
    )
    return {
        "model": published.model,
        "version": published.version,
        "metrics": dict(published.metrics),
        "engine": str(published.engine),
        "aliases": list(published.aliases),
    }
