"""A whole database in one file, as it was at one moment, while others write; and back again."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from quadra_matrix.errors import ProgramFailed, ProgramMissing, RestoreRefused
from quadra_matrix.storage.sql.engine import Database

REVISIONS = "alembic_version"
"""The table that holds the revision of the others."""

PROGRAM_LIMIT = 4 * 3600.0
"""Seconds that pg_dump or pg_restore may take."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file of ``take`` holds."""

    dialect: str
    revision: str | None
    rows: dict[str, int]


class Destination(Protocol):
    """A database that a snapshot is put into."""

    def is_empty(self) -> bool:
        """Tell whether it has no tables."""

    def check(self, file: Path, expected: Snapshot) -> None:
        """Raise ``RestoreRefused`` when the file is not the snapshot that was expected."""

    def put(self, file: Path, aside: Path) -> None:
        """Make the file's content the database's; what it held goes ``aside`` where it is a file."""


def take(database: Database, into: Path) -> Snapshot:
    """Write the database as it is now to the file ``into``; writers go on meanwhile."""
    return _take_sqlite(database, into) if database.dialect == "sqlite" else _take_postgresql(database, into)


def destination(database: Database) -> Destination:
    """Return where snapshots of this database's kind are put."""
    return _SqliteFile(database) if database.dialect == "sqlite" else _PostgresqlDatabase(database)


def count_rows(database: Database) -> dict[str, int]:
    """Return the number of rows of each table."""
    with database.read() as connection:
        return _counted(connection)


def _counted(connection: Connection) -> dict[str, int]:
    names = sorted(sa.inspect(connection).get_table_names())
    count = sa.select(sa.func.count())
    return {name: connection.execute(count.select_from(sa.table(name))).scalar_one() for name in names}


def _revision(connection: Connection, tables: dict[str, int]) -> str | None:
    if not tables.get(REVISIONS):
        return None
    return str(connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(REVISIONS))).scalar_one())


def _take_sqlite(database: Database, into: Path) -> Snapshot:
    into.touch(mode=0o600)
    with database.read() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        copy = sqlite3.connect(into)
        try:
            source.backup(copy)  # every page from one read transaction: no writer can force it to begin anew
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
        finally:
            copy.close()
    return _described(into)


def _described(file: Path) -> Snapshot:
    """Return what a SQLite file holds."""
    opened = Database(f"sqlite:///{file}")
    try:
        with opened.read() as connection:
            rows = _counted(connection)
            return Snapshot("sqlite", _revision(connection, rows), rows)
    finally:
        opened.close()


def _take_postgresql(database: Database, into: Path) -> Snapshot:
    """Count and dump from the same exported snapshot, so that the counts are those of the dump."""
    into.touch(mode=0o600)
    with database.read() as connection:
        exported = str(connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one())
        rows = _counted(connection)
        dump = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={exported}", f"--file={into}"]
        _run("pg_dump", dump, database.engine.url)
        return Snapshot("postgresql", _revision(connection, rows), rows)


class _SqliteFile:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._file = Path(str(database.engine.url.database))

    def is_empty(self) -> bool:
        return not self._file.exists() or not count_rows(self._database)

    def check(self, file: Path, expected: Snapshot) -> None:
        opened = sqlite3.connect(file)
        try:
            found = [row[0] for row in opened.execute("PRAGMA integrity_check(5)")]
        except sqlite3.DatabaseError as broken:
            raise RestoreRefused(f"the database inside is damaged: {broken}") from broken
        finally:
            opened.close()
        if found != ["ok"]:
            raise RestoreRefused(f"the database inside is damaged: {'; '.join(found)}")
        if _described(file) != expected:
            raise RestoreRefused("the database inside does not have the rows that the manifest counts")

    def put(self, file: Path, aside: Path) -> None:
        self._database.close()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            for suffix in ("", "-wal", "-shm"):
                old = self._file.with_name(self._file.name + suffix)
                if old.exists():
                    aside.mkdir(mode=0o700, parents=True, exist_ok=True)
                    shutil.move(old, aside / old.name)
                    undo.callback(shutil.move, aside / old.name, old)
            shutil.move(file, self._file)
            undo.pop_all()


class _PostgresqlDatabase:
    def __init__(self, database: Database) -> None:
        self._database = database

    def is_empty(self) -> bool:
        return not count_rows(self._database)

    def check(self, file: Path, expected: Snapshot) -> None:
        """Read the dump's table of contents; the rows can be counted only where it was restored."""
        _run("pg_restore", ["--list", str(file)], None)

    def put(self, file: Path, aside: Path) -> None:
        """Restore in one transaction: all of it or nothing."""
        self._database.close()
        whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--clean", "--if-exists"]
        _run("pg_restore", [*whole, str(file)], self._database.engine.url)


def _run(program: str, arguments: Sequence[str], address: sa.URL | None) -> None:
    """Run one of PostgreSQL's programs; the password travels in its environment, which other users cannot read."""
    path = shutil.which(program)
    if path is None:
        raise ProgramMissing(program, "apt-get install postgresql-client")
    environment = {"LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
    if address is not None:
        environment |= {"PGPASSWORD": str(address.password)} if address.password else {}
        shown = address.set(drivername="postgresql", password=None)
        arguments = [*arguments, f"--dbname={shown.render_as_string(hide_password=False)}"]
    try:
        done = subprocess.run(  # noqa: S603  PostgreSQL's own program, with an address that was parsed
            [path, *arguments], env=environment, capture_output=True, text=True, timeout=PROGRAM_LIMIT, check=False
        )
    except subprocess.TimeoutExpired as slow:
        raise ProgramFailed(program, f"took more than {PROGRAM_LIMIT:g} seconds") from slow
    if done.returncode:
        raise ProgramFailed(program, " ".join(done.stderr.split())[:500] or f"ended with {done.returncode}")
