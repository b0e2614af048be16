"""Every store of experiments keeps the same promises: files, SQLite and PostgreSQL."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from quadra_matrix.errors import ExperimentConflict
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.experiments.aggregate import Part, Question, Row, aggregate_sql, row
from quadra_matrix.experiments.definition import Definition, Status, Variant
from quadra_matrix.experiments.files import FileStore
from quadra_matrix.experiments.lifecycle import start
from quadra_matrix.experiments.log import Batch, Conversion
from quadra_matrix.experiments.ports import Store
from quadra_matrix.experiments.serve import Cell
from quadra_matrix.service.experiments import ChangesFile, DatabaseStore
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.experiments import SqlExperiments
from quadra_matrix.storage.sql.schema import all_tables
from tests.conftest import copy_of

DRAFT = Definition("exp", (Variant("control"), Variant("treatment", config={"colour": "grün", "sizes": [1, 2]})))

Open = Callable[[], Store]
Opener = Callable[[str], AbstractContextManager[Store]]


@contextmanager
def files(folder: str) -> Iterator[Store]:
    yield FileStore(Path(folder))


@contextmanager
def database(url: str) -> Iterator[Store]:
    opened = Database(url)
    with TemporaryDirectory() as folder:
        yield DatabaseStore(SqlExperiments(opened), ChangesFile(Path(folder) / "changes"))
    opened.close()


@pytest.fixture(params=["files", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Opener, str]:
    """How to open a store, and where; each call is another process's view of the same store."""
    if request.param == "files":
        return files, str(tmp_path)
    if request.param == "postgresql":
        template: str = request.getfixturevalue("postgres_template")
        return database, copy_of(request.getfixturevalue("postgres"), template)
    url = f"sqlite:///{tmp_path / 'quadra.db'}"
    made = Database(url)
    all_tables().create_all(made.engine)
    made.close()
    return database, url


@pytest.fixture
def open_store(place: tuple[Opener, str]) -> Iterator[Open]:
    opener, where = place
    with ExitStack() as opened:
        yield lambda: opened.enter_context(opener(where))


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


@pytest.fixture
def framework(store: Store) -> Iterator[ABTestingFramework]:
    made = ABTestingFramework(store=store)
    yield made
    made.close()


def counted(store: Store, experiment: str = "exp") -> list[Row]:
    warehouse = store.warehouse()
    return [*map(row, warehouse.rows(aggregate_sql(Question(experiment), warehouse.relations, warehouse.dialect)))]


def users(rows: list[Row]) -> dict[str, int]:
    return {each.variant: each.n for each in rows if each.part is Part.USERS}


def test_a_new_store_holds_nothing(store: Store) -> None:
    assert list(store.changes(0).definitions) == []
    assert sum(each.n for each in counted(store)) == 0


def test_versions_come_back_as_they_were_and_once(store: Store, open_store: Open) -> None:
    running = start(DRAFT, now=1.0)
    store.record(DRAFT)
    first = store.changes(0)
    store.record(running)

    later = open_store().changes(first.position)

    assert list(first.definitions) == [DRAFT]
    assert list(later.definitions) == [running]
    assert list(open_store().changes(later.position).definitions) == []
    assert list(open_store().changes(0).definitions) == [DRAFT, running]


def test_a_version_that_does_not_follow_is_refused_and_not_kept(store: Store, open_store: Open) -> None:
    store.record(DRAFT)

    with pytest.raises(ExperimentConflict, match="version 1"):
        open_store().record(DRAFT)
    with pytest.raises(ExperimentConflict):
        store.record(replace(DRAFT, version=3))

    assert len(store.changes(0).definitions) == 1


def test_what_is_written_is_counted(store: Store, open_store: Open) -> None:
    exposed = [(10.0, Cell("exp", 1, "control"), "ada", None), (11.0, Cell("exp", 1, "treatment"), "bob", 1.5)]
    converted = [
        Conversion(12.0, "order-1", "exp", 1, "control", "ada", "conversion", 9),
        Conversion(12.0, "order-1", "exp", 1, "control", "ada", "conversion", 9),
        Conversion(13.0, "order-2", "exp", 1, "treatment", None, "conversion", None),
    ]
    sink = store.sink()

    sink.write(Batch(exposed, converted))
    sink.write(Batch((), ()))
    sink.close()
    sink.write(Batch([(14.0, Cell("other", 1, "control"), "ada", None)], ()))
    sink.close()
    rows = counted(open_store())

    assert users(rows) == {"control": 1, "treatment": 1}
    assert {each.variant: each.events for each in rows if each.part is Part.COUNTED} == {"control": 1}
    assert {each.variant: each.n for each in rows if each.part is Part.ANONYMOUS} == {"treatment": 1}
    assert users(counted(open_store(), "other")) == {"control": 1}


@pytest.mark.parametrize("text", ["a\0b", "tab\there", "back\\slash", "50 %s % off'", "\ud800", "日本"], ids=ascii)
def test_any_unit_and_event_id_may_be_written(store: Store, text: str) -> None:
    sink = store.sink()

    sink.write(
        Batch(
            [(1.0, Cell("exp", 1, "control"), text, None), (1.0, Cell("exp", 1, "control"), text.lower() + ".", None)],
            [Conversion(2.0, text, "exp", 1, "control", text, "conversion", None)],
        )
    )
    sink.close()
    rows = counted(store)

    assert users(rows) == {"control": 2}
    assert [each.n for each in rows if each.part is Part.COUNTED] == [1]


@pytest.mark.parametrize("name", ["50 % off", "it's :new", 'a "b"'], ids=ascii)
def test_any_name_may_be_asked_for(framework: ABTestingFramework, name: str) -> None:
    framework.create_experiment(name, [{"name": "control"}, {"name": "it's 5 %s"}]).start()
    for number in range(20):
        framework.get_variant(name, f"u{number}")
        framework.track_conversion(name, value=1.0, custom_metrics={"50 %": 2}, user_id=f"u{number}")

    found = framework.get_experiment_results(name)["variants"]

    assert sum(variant["users"] for variant in found.values()) == 20
    assert sum(variant["custom_metrics"]["50 %"]["total"] for variant in found.values()) == 40


def test_new_weights_keep_who_was_exposed(framework: ABTestingFramework, open_store: Open) -> None:
    experiment = framework.create_experiment("exp", [{"name": "control"}, {"name": "treatment"}])
    experiment.start()
    before = {f"u{n}": framework.get_variant("exp", f"u{n}")["variant_name"] for n in range(50)}
    framework.flush()
    experiment.reweight({"control": 0, "treatment": 1})
    other = ABTestingFramework(store=open_store())

    assert {unit: other.get_variant("exp", unit)["variant_name"] for unit in before} == before
    assert {other.get_variant("exp", f"new{n}")["variant_name"] for n in range(20)} == {"treatment"}
    other.close()


def work(opener: Opener, where: str, worker: int) -> None:
    """What each process of the test below does: change the experiment, and serve a hundred units."""
    with opener(where) as store:
        framework = ABTestingFramework(store=store)
        experiment = framework.experiment("exp")
        for step in range(5):
            experiment.cover(1.0 - worker / 100 - step / 1000)
        experiment.cover(1.0)
        for number in range(100):
            framework.get_variant("exp", f"{worker}-{number}")
            if number % 10 == 0:
                framework.track_conversion("exp", user_id=f"{worker}-{number}")
                framework.flush()
        framework.close()


@pytest.mark.slow
def test_processes_share_a_store(place: tuple[Opener, str], store: Store) -> None:
    """Races for a version are repeated, every version is there once, and no event is lost."""
    opener, where = place
    framework = ABTestingFramework(store=store)
    framework.create_experiment("exp", [{"name": "control"}, {"name": "treatment"}]).start()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=(opener, where, worker)) for worker in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    framework.refresh()
    versions = [definition.version for definition in framework.store.changes(0).definitions]
    found = framework.get_experiment_results("exp")["variants"].values()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert versions == list(range(1, 2 + 3 * 6 + 1))
    assert framework.definition("exp").status is Status.RUNNING
    # A unit that one process did not cover for a moment is not an exposure; the conversions of units are all there.
    assert 250 <= sum(variant["users"] for variant in found) <= 300
    framework.close()


def test_a_database_that_is_away_lets_events_wait(tmp_path: Path) -> None:
    """A group that the database does not take is an OSError, which the log keeps and writes again."""
    events = Batch([(1.0, Cell("exp", 1, "control"), "ada", None)], ())

    with database(f"sqlite:///{tmp_path / 'empty.db'}") as store, pytest.raises(OSError, match="quadra db upgrade"):
        store.sink().write(events)
