"""A registry and datasets over a real SQLite database, and a quick way to train into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.service.models.values import Progress, Published
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.testing import RecordingHook


@dataclass(frozen=True)
class Shop:
    """Everything a training needs."""

    folder: Path
    database: Database
    registry: Registry
    datasets: Datasets
    heard: RecordingHook

    def train(self, report: Callable[[Progress], None] = lambda progress: None, **fields: Any) -> Published:
        tolerance = {"tolerance": fields.pop("tolerance")} if "tolerance" in fields else {}
        request = TrainingRequest.model_validate(
            {"model": "cancer", "data": {"source": "builtin", "name": "breast_cancer"}, **fields}
        )
        return train(request, data=self.datasets, registry=self.registry, report=report, **tolerance)

    def another_process(self) -> Registry:
        """A registry that shares nothing with the first but the database and the folder."""
        return Registry(SqlModels(self.database), self.folder / "models")


def open_shop(folder: Path) -> Shop:
    database = Database(f"sqlite:///{folder / 'quadra.db'}")
    all_tables().create_all(database.engine)
    heard = RecordingHook()
    registry = Registry(SqlModels(database), folder / "models", hook=heard)
    return Shop(folder, database, registry, Datasets(SqlDatasets(database), folder / "datasets"), heard)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = open_shop(tmp_path)
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with the model ``cancer``: version 1 logistic regression, version 2 a random forest. Do not publish."""
    opened = open_shop(tmp_path_factory.mktemp("shop"))
    opened.train()
    opened.train(estimator={"name": "random_forest", "trees": 20})
    yield opened
    opened.database.close()
