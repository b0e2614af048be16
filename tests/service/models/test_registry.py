"""Versions appear whole or not at all; an alias moves for every process at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.errors import BrokenModel, DatabaseUnavailable, UnknownModel
from quadra_matrix.events.models import AliasMoved, ModelPublished
from quadra_matrix.service.models.registry import LEFTOVER_AGE, MOST_AGE, Registry
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlModels
from quadra_matrix.store.models import Alias, Catalogue, Engine, Feature, Kind, ModelVersion, OnnxCheck, Task
from quadra_matrix.testing import FakeClock, RecordingHook

FILES = {"model.onnx": b"onnx", "model.skops": b"skops"}


def draft(model: str = "m", **fields: Any) -> ModelVersion:
    given: dict[str, Any] = {
        "model": model,
        "version": 0,
        "task": Task.CLASSIFICATION,
        "estimator": "linear",
        "parameters": {"regularization": 1.0, "layers": [1, 2]},
        "target": "y",
        "features": (Feature("a", Kind.NUMBER), Feature("c", Kind.CATEGORY)),
        "classes": (False, 1, 2.5, "x"),
        "metrics": {"accuracy": 0.9},
        "training": {"rows": 3},
        "data_fingerprint": "f" * 64,
        "engine": Engine.ONNX,
        "padding": None,
        "onnx": OnnxCheck(10, 1e-9, 0),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
        "libraries": {"numpy": "2"},
        "created_at": 0.0,
    }
    return ModelVersion(**{**given, **fields})


class Fixture:
    """A registry and another one over the same database and folder, as two processes have them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.clock, self.heard = FakeClock(), RecordingHook()
        self.registry = Registry(SqlModels(database), folder, hook=self.heard, clock=self.clock)
        self.other = Registry(SqlModels(database), folder, clock=self.clock)

    def publish(self, model: str = "m") -> int:
        return self.registry.publish(draft(model), FILES)[0].version


@pytest.fixture
def two(database: Database, tmp_path: Path) -> Fixture:
    return Fixture(database, tmp_path / "models")


def test_versions_count_up_for_each_model(two: Fixture) -> None:
    assert [two.publish("m"), two.publish("m"), two.publish("n")] == [1, 2, 1]


def test_the_record_comes_back_as_it_was_published(two: Fixture) -> None:
    published, _ = two.registry.publish(draft(), FILES)

    found = two.other.find("m", version=1)

    assert found == published == draft().numbered(1).created(two.clock.now())
    assert [type(label) for label in found.classes] == [bool, int, float, str]
    assert two.other.read(found, "model.onnx") == b"onnx"


def test_the_first_version_is_production_and_the_newest_is_candidate(two: Fixture) -> None:
    first, second = (two.registry.publish(draft(), FILES)[1] for _ in range(2))

    assert (first, second) == (("candidate", "production"), ("candidate",))
    assert two.registry.find("m").version == 1
    assert two.registry.find("m", alias="candidate").version == 2


def test_another_process_sees_a_move_with_its_next_call(two: Fixture) -> None:
    two.publish()
    two.publish()
    assert two.other.find("m").version == 1

    two.registry.move("m", "production", 2)

    assert two.other.find("m").version == 2
    assert two.heard.of(AliasMoved) == [AliasMoved("m", "production", 2)]


def test_another_process_sees_a_new_version_with_its_next_call(two: Fixture) -> None:
    with pytest.raises(UnknownModel):
        two.other.find("m")

    two.publish()

    assert two.other.find("m").version == 1
    assert two.heard.of(ModelPublished) == [ModelPublished("m", 1, "onnx")]


def test_a_move_on_another_machine_is_seen_within_a_second(two: Fixture) -> None:
    two.publish()
    two.publish()
    assert two.other.find("m").version == 1
    SqlModels(two.database).move(Alias("m", "production", 2, 0.0))  # no file of ours changes

    two.clock.advance(MOST_AGE)

    assert two.other.find("m").version == 2


def test_without_a_change_the_database_is_not_asked(two: Fixture) -> None:
    two.publish()
    first = two.other.catalogue()

    assert two.other.catalogue() is first


class Away(SqlModels):
    """A store whose database can be taken away."""

    away = False

    def catalogue(self, known: Catalogue) -> Catalogue:
        if self.away:
            raise DatabaseUnavailable("taken away")
        return super().catalogue(known)


def test_while_the_database_is_away_the_last_known_holds(two: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    two.publish()
    store = Away(two.database)
    registry = Registry(store, two.folder, clock=two.clock)
    assert registry.find("m").version == 1

    store.away = True
    two.publish()
    two.registry.move("m", "production", 2)

    assert registry.find("m").version == 1
    assert "the database is away" in caplog.text
    store.away = False
    two.clock.advance(MOST_AGE)
    assert registry.find("m").version == 2


def test_a_database_that_never_answered_is_told(two: Fixture) -> None:
    store = Away(two.database)
    store.away = True

    with pytest.raises(DatabaseUnavailable):
        Registry(store, two.folder, clock=two.clock).find("m")


def test_known_versions_are_not_read_again(two: Fixture) -> None:
    two.publish()
    store = SqlModels(two.database)
    known = store.catalogue(Catalogue({}, {}))
    two.publish()

    again = store.catalogue(known)

    assert again.versions["m"][1] is known.versions["m"][1]
    assert list(again.versions["m"]) == [1, 2]


def test_a_number_that_a_restored_database_gave_anew_is_read_again(two: Fixture) -> None:
    two.publish()
    old = draft().numbered(1).created(5.0)

    found = SqlModels(two.database).catalogue(Catalogue({"m": {1: old}}, {}))

    assert found.versions["m"][1].created_at == two.clock.now()


def test_moving_makes_an_alias(two: Fixture) -> None:
    two.publish()

    assert two.registry.move("m", "shadow", 1) == Alias("m", "shadow", 1, two.clock.now())
    assert two.registry.catalogue().aliases["m"] == {"candidate": 1, "production": 1, "shadow": 1}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "x"}, r"there is no model 'x'; there is: m$"),
        ({"model": "m", "version": 9}, r"there is no version 9 of model 'm'; there is: 1, 2$"),
        ({"model": "m", "alias": "blue"}, r"no alias 'blue' of model 'm'; there is: candidate, production$"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(two: Fixture, asked: dict[str, Any], message: str) -> None:
    two.publish()
    two.publish()

    with pytest.raises(UnknownModel, match=message):
        two.registry.find(**asked)


def test_an_alias_never_points_at_nothing(two: Fixture) -> None:
    two.publish()

    with pytest.raises(UnknownModel, match="version 9 of model 'm'; there is: 1"):
        two.registry.move("m", "production", 9)

    assert two.registry.find("m").version == 1


def test_a_publication_that_fails_leaves_nothing(two: Fixture) -> None:
    (two.folder / "m").write_text("in the way")  # the folder of the model cannot be made

    with pytest.raises(FileExistsError):
        two.publish()

    assert two.registry.catalogue().versions == {}
    assert [file.name for file in two.folder.iterdir()] == ["m"]


def test_files_of_a_publication_that_was_killed_are_replaced(two: Fixture) -> None:
    leftover = two.folder / "m" / "1"
    leftover.mkdir(parents=True)
    (leftover / "model.onnx").write_bytes(b"half")

    two.publish()

    assert two.registry.read(two.registry.find("m"), "model.onnx") == b"onnx"


KILLED = """
import os, signal, sys
from pathlib import Path
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlModels
from tests.service.models.test_registry import FILES, draft


class Killed(SqlModels):
    def publish(self, draft, aliases, place):
        return super().publish(draft, aliases, lambda number: (place(number), os.kill(os.getpid(), signal.SIGKILL)))


Registry(Killed(Database(sys.argv[1])), Path(sys.argv[2])).publish(draft(), FILES)
"""


def test_a_publication_killed_before_its_record_leaves_no_version_and_the_next_takes_its_number(two: Fixture) -> None:
    address = two.database.engine.url.render_as_string(hide_password=False)

    ran = subprocess.run([sys.executable, "-c", KILLED, address, str(two.folder)], timeout=120)

    assert ran.returncode == -signal.SIGKILL
    assert (two.folder / "m" / "1").exists()
    assert two.registry.catalogue().versions == {}
    assert two.publish() == 1


def test_publications_at_once_take_different_numbers(two: Fixture) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: two.publish(), range(12)))

    assert sorted(numbers) == list(range(1, 13))
    assert sorted(two.other.catalogue().versions["m"]) == list(range(1, 13))
    assert two.other.find("m", alias="candidate").version == 12


def test_old_leftovers_are_cleared_and_young_ones_stay(two: Fixture) -> None:
    for name, age in (("old", LEFTOVER_AGE + 60), ("young", 60)):
        folder = two.folder / f".new-{name}"
        folder.mkdir()
        then = two.clock.now() - age
        os.utime(folder, (then, then))

    two.publish()

    assert [folder.name for folder in two.folder.glob(".new-*")] == [".new-young"]


def test_a_changed_file_is_not_served(two: Fixture) -> None:
    two.publish()
    (two.folder / "m" / "1" / "model.onnx").write_bytes(b"other")

    with pytest.raises(BrokenModel, match=r"model\.onnx was changed after its publication"):
        two.registry.read(two.registry.find("m"), "model.onnx")


def test_a_missing_file_is_named(two: Fixture) -> None:
    two.publish()
    (two.folder / "m" / "1" / "model.onnx").unlink()

    with pytest.raises(BrokenModel, match=r"model\.onnx cannot be read"):
        two.registry.read(two.registry.find("m"), "model.onnx")
