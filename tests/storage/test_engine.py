"""What every store may rely on, whichever database is below: one suite, both databases."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from quadra_matrix.errors import DatabaseUnavailable, InvalidValue, TablesMissing
from quadra_matrix.storage.sql import Database
from tests.services.postgres import Postgres
from tests.services.process import free_port

tables = sa.MetaData()
accounts = sa.Table(
    "accounts",
    tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("balance", sa.Integer, nullable=False),
    sa.Column("notes", sa.JSON),
    sa.Column("at", sa.Double),
)
entries = sa.Table(
    "entries",
    tables,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey(accounts.c.name), nullable=False),
)


@pytest.fixture
def bank(database: Database) -> Iterator[Database]:
    """The database with one account that holds nothing."""
    tables.create_all(database.engine)
    with database.begin() as connection:
        connection.execute(accounts.insert().values(name="ada", balance=0))
    return database


def balance(database: Database) -> int:
    with database.read() as connection:
        return connection.scalars(sa.select(accounts.c.balance)).one()


def set_balance(database: Database, value: int) -> None:
    with database.begin() as connection:
        connection.execute(accounts.update().values(balance=value))


def deposit(database: Database, times: int) -> None:
    """Read, then write what was read plus one: what loses money without a lock."""
    for _ in range(times):
        with database.begin(lock="bank") as connection:
            held = connection.scalars(sa.select(accounts.c.balance)).one()
            connection.execute(accounts.update().values(balance=held + 1))


def deposit_in_a_process(url: str, times: int) -> None:
    database = Database(url)
    deposit(database, times)
    database.close()


def test_a_transaction_that_ends_is_kept(bank: Database) -> None:
    set_balance(bank, 5)

    assert balance(bank) == 5


def test_a_transaction_that_raises_leaves_nothing(bank: Database) -> None:
    def deposits_then_fails() -> None:
        with bank.begin() as connection:
            connection.execute(accounts.update().values(balance=5))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        deposits_then_fails()

    assert balance(bank) == 0


def test_the_connection_is_usable_after_a_refused_statement(bank: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), bank.begin() as connection:
        connection.execute(accounts.insert().values(name="ada", balance=1))

    set_balance(bank, 6)
    assert balance(bank) == 6


def test_threads_that_read_then_write_lose_nothing(bank: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: deposit(bank, 25), range(8)))

    assert balance(bank) == 200


@pytest.mark.slow
def test_processes_that_read_then_write_lose_nothing(bank: Database) -> None:
    url = bank.engine.url.render_as_string(hide_password=False)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=deposit_in_a_process, args=(url, 50)) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert balance(bank) == 150


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_locks_of_different_names_do_not_wait_for_each_other(bank: Database) -> None:
    """SQLite has one writer whatever its name, so this is about PostgreSQL."""
    with bank.begin(lock="one"), bank.begin(lock="two"):
        pass


def test_a_reader_sees_one_state_while_another_writes(bank: Database) -> None:
    with bank.read() as connection:
        before = connection.scalars(sa.select(accounts.c.balance)).one()
        writer = threading.Thread(target=set_balance, args=(bank, 7))
        writer.start()
        writer.join(10)
        after = connection.scalars(sa.select(accounts.c.balance)).one()

    assert (before, after) == (0, 0)
    assert balance(bank) == 7


def test_a_reader_cannot_write(bank: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=r"read.?only"), bank.read() as connection:
        connection.execute(accounts.update().values(balance=8))

    set_balance(bank, 9)
    assert balance(bank) == 9


def test_a_reference_to_nothing_is_refused(bank: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), bank.begin() as connection:
        connection.execute(entries.insert().values(number=1, account="nobody"))


def test_json_text_and_times_come_back_as_they_went(bank: Database) -> None:
    notes = {"déjà": [1, 2.5, None, True], "emoji": "\N{SNOWMAN}"}

    with bank.begin() as connection:
        connection.execute(accounts.update().values(notes=notes, at=1_700_000_000.123456))
    with bank.read() as connection:
        row = connection.execute(sa.select(accounts.c.notes, accounts.c.at)).one()

    assert json.dumps(row.notes) == json.dumps(notes)
    assert row.at == 1_700_000_000.123456


def test_a_lock_that_is_not_given_up_is_reported(bank: Database) -> None:
    hasty = Database(bank.engine.url.render_as_string(hide_password=False), busy_timeout=0.05)

    with bank.begin(lock="bank") as connection:
        connection.execute(accounts.update().values(balance=1))
        with pytest.raises(DatabaseUnavailable, match=r"lock"):
            deposit(hasty, 1)

    deposit(hasty, 1)
    hasty.close()
    assert balance(bank) == 2


def test_a_mistake_in_a_statement_is_not_called_unavailable(bank: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError), bank.read() as connection:
        connection.exec_driver_sql("SELECT no_such_column FROM accounts")


def test_a_database_without_our_tables_says_what_to_run(bank: Database) -> None:
    with pytest.raises(TablesMissing, match="quadra db upgrade"), bank.read() as connection:
        connection.exec_driver_sql("SELECT * FROM no_such_table")


@pytest.mark.slow
def test_a_connection_that_the_server_dropped_is_replaced(postgres: Postgres) -> None:
    database = Database(postgres.url)
    with database.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

    other = Database(postgres.url)
    with other.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")

    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    database.close()
    other.close()


def test_no_server_is_reported_without_the_password() -> None:
    database = Database(f"postgresql://me:hunter2@127.0.0.1:{free_port()}/name")

    with pytest.raises(DatabaseUnavailable, match="refused") as failed, database.read():
        pass

    assert "hunter2" not in str(failed.value)


def test_a_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()

    with pytest.raises(DatabaseUnavailable, match="unable to open"), Database(f"sqlite:///{tmp_path}/folder.db").read():
        pass


def test_sqlite_uses_a_write_ahead_log_in_a_folder_it_makes(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new/quadra.db")

    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 15_000
    database.close()


def test_nothing_is_opened_before_the_first_transaction(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/new/quadra.db")

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "url", ["", "quadra.db", "mysql://me:hunter2@h/db", "postgresql+pg8000://h/db", "sqlite://", "sqlite:///:memory:"]
)
def test_an_address_of_another_kind_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(InvalidValue, match="database_url") as refused:
        Database(url)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_postgresql_means_psycopg(scheme: str) -> None:
    assert Database(f"{scheme}://h/db").engine.url.drivername == "postgresql+psycopg"
