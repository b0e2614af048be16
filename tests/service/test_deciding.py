"""A decided experiment ends by itself, and its winner becomes what the alias points at."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from quadra_matrix.experiments.model import experiment_name
from quadra_matrix.service.deciding import deciding, experiments_of
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlModels
from tests.service.test_model_experiments import settings_with_two_versions
from tests.services.process import wait_until


@pytest.mark.slow
def test_a_decided_model_experiment_moves_its_alias_without_anybody_looking(tmp_path: Path) -> None:
    settings = settings_with_two_versions(Settings(data_dir=tmp_path))
    database = Database(settings.database_url)
    registry = Registry(SqlModels(database), settings.models_dir)
    framework, trials = experiments_of(settings, database, registry)
    trials.create("iris", "production", {2: 0.5}, auto_stop="stop").start()
    chance = random.Random(7)
    name = experiment_name("iris", "production")
    for number in range(3000):
        choice = trials.choose("iris", "production", f"user {number}")
        assert choice is not None
        if chance.random() < {"1": 0.1, "2": 0.3}[choice.version]:
            framework.track_conversion(name, choice.variant, user_id=f"user {number}")
    framework.flush()

    with deciding(settings, database, every=0.2):
        wait_until(lambda: registry.find("iris", alias="production").version == 2, "the alias to move")

    framework.refresh()
    assert framework.definition(name).winner == "2"
    framework.close()
    database.close()


def test_a_look_that_fails_is_not_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(data_dir=tmp_path)  # a database without tables
    database = Database(settings.database_url)

    with deciding(settings, database, every=0.01):
        wait_until(lambda: caplog.text.count("could not be looked at") > 1, "a second look")

    database.close()
