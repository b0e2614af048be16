"""An upgrade is complete, happens once, and loses no row."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from quadra_matrix.cli import main
from quadra_matrix.errors import BrokenReferences, InvalidValue, UnknownRevision
from quadra_matrix.storage.migrations import Upgrade, current, downgrade, drift, head, upgrade
from quadra_matrix.storage.sql import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database(f"empty_{abs(hash(tmp_path))}")
    database = Database(url)
    yield database
    database.close()


def upgrade_in_a_process(url: str, done: Queue[Upgrade]) -> None:
    database = Database(url)
    done.put(upgrade(database))
    database.close()


def test_an_upgrade_makes_exactly_the_tables_that_the_package_defines(empty: Database) -> None:
    """When this fails after a change of a table: make migration m='what changed'."""
    done = upgrade(empty)

    assert drift(empty) == []
    assert (done.before, done.after, current(empty)) == (None, head(), head())
    assert done.applied[-1] == head()


def test_a_second_upgrade_does_nothing(empty: Database) -> None:
    upgrade(empty)

    assert upgrade(empty) == Upgrade(head(), head(), ())


def test_a_changed_table_is_noticed(empty: Database) -> None:
    upgrade(empty)

    with empty.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN stray INTEGER")

    assert drift(empty) == ["remove_column: jobs stray"]


def test_an_empty_database_has_no_revision(empty: Database) -> None:
    assert current(empty) is None
    assert len(drift(empty)) > 1


@pytest.mark.slow
def test_processes_that_upgrade_at_once_do_it_once(empty: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    done: Queue[Upgrade] = spawn.Queue()
    url = empty.engine.url.render_as_string(hide_password=False)
    processes = [spawn.Process(target=upgrade_in_a_process, args=(url, done)) for _ in range(3)]

    for process in processes:
        process.start()
    upgrades = [done.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(bool(made.applied) for made in upgrades) == [False, False, True]
    assert drift(empty) == []


def test_a_database_of_a_newer_version_is_left_alone(empty: Database) -> None:
    upgrade(empty)
    with empty.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(UnknownRevision, match="revision 9999") as refused:
        upgrade(empty)

    assert refused.value.newest == head()


REVISIONS = [f"{number:04d}" for number in range(1, int(head()) + 1)]


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_downgrade_leaves_the_tables_of_its_revision_and_their_rows(empty: Database, revision: str) -> None:
    upgrade(empty)
    with empty.begin() as connection:
        connection.exec_driver_sql("INSERT INTO datasets (id, created_at, record) VALUES ('x', 1.0, '{}')")

    done = downgrade(empty, revision)

    assert (done.before, done.after) == (head(), revision)
    assert done.applied == tuple(reversed(REVISIONS[REVISIONS.index(revision) + 1 :]))
    assert current(empty) == revision
    missing = [difference for difference in drift(empty) if not difference.startswith("add_")]
    assert missing == []
    assert len(drift(empty)) > 0
    assert upgrade(empty).after == head()
    assert drift(empty) == []
    with empty.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM datasets").scalar_one() == 1


@pytest.mark.parametrize(("at", "to", "refused"), [
    (None, "0001", InvalidValue), (head(), head(), InvalidValue), ("0001", "0002", InvalidValue),
    (head(), "9999", UnknownRevision), (head(), "base", UnknownRevision),
])  # fmt: skip
def test_a_downgrade_only_goes_back(empty: Database, at: str | None, to: str, refused: type[Exception]) -> None:
    if at is not None:
        upgrade(empty)
        if at != head():
            downgrade(empty, at)

    with pytest.raises(refused):
        downgrade(empty, to)

    assert current(empty) == at


def test_the_command_goes_back_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_DATA_DIR", str(tmp_path))
    run = CliRunner().invoke
    run(main, ["db", "upgrade"])

    unasked = run(main, ["db", "downgrade", "0001"])
    done = run(main, ["db", "downgrade", "0001", "--yes", "--json"])

    assert (unasked.exit_code, done.exit_code) == (4, 0)
    assert json.loads(done.stdout)["after"] == "0001"


def test_a_failed_change_of_tables_leaves_nothing(empty: Database) -> None:
    def changes_then_fails() -> None:
        with empty.change_schema() as connection:
            connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")
            connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")

    with pytest.raises(sa.exc.DBAPIError):
        changes_then_fails()

    assert sa.inspect(empty.engine).get_table_names() == []


PARENT_AND_CHILD = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (parent INTEGER REFERENCES parent (id) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (1)",
)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'family.db'}")
    with database.begin() as connection:
        for statement in PARENT_AND_CHILD:
            connection.exec_driver_sql(statement)
    yield database
    database.close()


def test_copying_a_table_on_sqlite_keeps_the_rows_that_refer_to_it(family: Database) -> None:
    with family.change_schema() as connection:
        connection.exec_driver_sql("CREATE TABLE copy (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO copy SELECT id FROM parent")
        connection.exec_driver_sql("DROP TABLE parent")
        connection.exec_driver_sql("ALTER TABLE copy RENAME TO parent")

    with family.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM child").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_change_on_sqlite_that_orphans_rows_is_rolled_back(family: Database) -> None:
    def orphans() -> None:
        with family.change_schema() as connection:
            connection.exec_driver_sql("DELETE FROM parent")

    with pytest.raises(BrokenReferences, match="child to parent"):
        orphans()

    with family.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 1


def test_the_command_upgrades_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_DATA_DIR", str(tmp_path))
    run = CliRunner().invoke

    before = run(main, ["db", "check", "--json"])
    first = run(main, ["db", "upgrade", "--json"])
    second = run(main, ["db", "upgrade"])
    after = run(main, ["db", "check"])
    at = run(main, ["db", "current", "--json"])

    assert (before.exit_code, json.loads(before.stdout)["up_to_date"]) == (1, False)
    assert json.loads(first.stdout)["after"] == head()
    assert (second.stdout, after.exit_code) == (f"already at {head()}\n", 0)
    assert json.loads(at.stdout) == {"database": "sqlite", "revision": head(), "newest": head()}
