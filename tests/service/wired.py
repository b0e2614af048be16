"""The service's own parts with a trained model, for tests that need something to predict with."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels


def settings_with_iris(folder: Path) -> Settings:
    """Return the settings of a service whose default model is a trained ``iris``."""
    settings = Settings(data_dir=folder, default_model="iris", queue_limit=1_000_000, max_upload_bytes=1_000_000)
    database = Database(settings.database_url)
    upgrade(database)
    train(
        TrainingRequest(model="iris", data=BuiltIn(name="iris")),
        data=Datasets(SqlDatasets(database), settings.datasets_dir),
        registry=Registry(SqlModels(database), settings.models_dir),
        report=lambda progress: None,
    )
    database.close()
    return settings
