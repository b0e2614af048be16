"""One database and its transactions; the only place that knows how SQLite and PostgreSQL differ in opening one."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from quadra_matrix.errors import BrokenReferences, DatabaseUnavailable, InvalidValue, TablesMissing

BUSY_TIMEOUT = 15.0
"""Seconds a transaction waits for another one's lock before it gives up."""

SCHEMA_TIMEOUT = 600.0
"""Seconds a process waits for another one that changes the tables."""

CONNECT_TIMEOUT = 10
"""Seconds to wait for PostgreSQL to answer, or for a connection of a pool in full use."""

MODE = "quadra_mode"
"""Name of the execution option that tells SQLite how to begin."""

WRITE_MISTAKES = frozenset({sqlite3.SQLITE_ERROR})
READ_MISTAKES = WRITE_MISTAKES | {sqlite3.SQLITE_READONLY}
"""SQLite's codes for a statement that is wrong, and for one that writes while reading."""

UNDEFINED_TABLE = "42P01"
"""PostgreSQL's code for a table that is not there; SQLite has only words."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every table of the service is defined on this, in the module whose store uses it."""


class Database:
    """A pool of connections to ``url``. May be shared between threads, not across a fork.

    Nothing is opened before the first transaction. A database that does not answer, or stays locked for
    ``busy_timeout`` seconds, raises ``DatabaseUnavailable``; other errors of SQLAlchemy are bugs and pass through.
    """

    def __init__(self, url: str, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        address = _address(url)
        self.dialect = address.get_backend_name()
        open_engine = _sqlite if self.dialect == "sqlite" else _postgresql
        self.engine = open_engine(address, busy_timeout)

    @contextlib.contextmanager
    def begin(self, *, lock: str | None = None, durable: bool = False) -> Iterator[Connection]:
        """Yield a connection inside one write transaction: committed at the end, rolled back on an exception.

        ``lock`` names what only one transaction at a time may do, in all processes that share the database. SQLite
        has one writer anyway: it takes the write lock at the start, so a transaction that reads and then writes never
        fails half-way. On PostgreSQL, without a lock, select rows that the transaction will change ``FOR UPDATE``.
        ``durable`` makes the commit wait for the disk on SQLite too, as PostgreSQL always does.
        """
        mode = "durable" if durable else "write"
        with _translated(WRITE_MISTAKES), self._transaction(**{MODE: mode}) as connection:
            if lock is not None and self.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of(lock))))
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside one read transaction: every query sees the same state, and a write is refused."""
        snapshot: dict[str, object] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        options = snapshot if self.dialect == "postgresql" else {MODE: "read"}
        with _translated(READ_MISTAKES), self._transaction(**options) as connection:
            yield connection

    def ping(self) -> None:
        """Return when the database answers; raise ``DatabaseUnavailable`` when it does not."""
        with self.read() as connection:
            connection.execute(sa.select(1))

    @contextlib.contextmanager
    def change_schema(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction that changes tables, in one process at a time.

        SQLite changes a column by copying its table and dropping the old one. Dropping deletes the rows, and those
        that refer to them with it, so foreign keys are off here and checked at the end instead.
        """
        with _translated(WRITE_MISTAKES), self.engine.connect() as connection:
            connection.detach()  # what is set here must not come back from the pool
            with connection.execution_options(**{MODE: "schema"}).begin():
                if self.dialect == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(SCHEMA_TIMEOUT * 1000)}")
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of("schema"))))
                yield connection
                if self.dialect == "sqlite":
                    _require_whole_references(connection)

    def close(self) -> None:
        """Close every idle connection; the next use opens new ones."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, **options: object) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection


def _address(url: str) -> sa.URL:
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        rule = "an address like sqlite:///file or postgresql://host/name"
        raise InvalidValue("database_url", "(not shown)", rule) from None  # the address may hold a password
    if address.drivername in {"postgresql", "postgres"}:
        address = address.set(drivername="postgresql+psycopg")
    if address.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise InvalidValue("database_url", f"{address.drivername}://...", "sqlite or postgresql")
    if address.drivername == "sqlite" and address.database in {None, "", ":memory:"}:
        raise InvalidValue("database_url", url, "a file: memory is not shared between processes")
    return address


@contextlib.contextmanager
def _translated(mistakes: frozenset[int]) -> Iterator[None]:
    """Turn what an operator can repair into an error of ours, whose text holds no address and no statement.

    PostgreSQL keeps the database's troubles apart from our mistakes; SQLite does by the codes in ``mistakes``.
    """
    try:
        yield
    except sa.exc.TimeoutError as waited:
        raise DatabaseUnavailable("every connection of the pool is in use") from waited
    except sa.exc.DBAPIError as failed:
        reason = " ".join(str(failed.orig).split())
        if getattr(failed.orig, "sqlstate", None) == UNDEFINED_TABLE or reason.startswith("no such table"):
            raise TablesMissing from failed
        code = getattr(failed.orig, "sqlite_errorcode", None)
        if isinstance(failed, sa.exc.OperationalError) and code not in mistakes:
            raise DatabaseUnavailable(reason) from failed
        raise


def _number_of(lock: str) -> int:
    """Return the signed 64-bit number that stands for the lock in PostgreSQL."""
    return int.from_bytes(hashlib.blake2b(lock.encode(), digest_size=8).digest(), signed=True)


def _postgresql(address: sa.URL, busy_timeout: float) -> sa.Engine:
    """Return an engine that notices a restarted server and does not wait for a lock without end."""
    engine = sa.create_engine(
        address,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=10,
        pool_timeout=CONNECT_TIMEOUT,
        connect_args={"connect_timeout": CONNECT_TIMEOUT},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"SET lock_timeout = {round(busy_timeout * 1000)}")
        connection.commit()

    return engine


def _sqlite(address: sa.URL, busy_timeout: float) -> sa.Engine:
    """Return an engine with WAL, foreign keys, a busy timeout, and transactions that begin when we say so."""
    engine = sa.create_engine(address, pool_timeout=CONNECT_TIMEOUT, connect_args={"timeout": busy_timeout})

    @sa.event.listens_for(engine, "do_connect")
    def make_folder(dialect: sa.Dialect, entry: ConnectionPoolEntry, arguments: list[str], options: object) -> None:
        Path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the sqlite3 module must not begin transactions by itself
        connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for each other
        # A power cut may lose the last transactions that did not ask to be durable, but never corrupts; a killed
        # process loses nothing.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get(MODE)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if mode == 'read' else 'OFF'}")
        if mode == "schema":
            connection.exec_driver_sql(f"PRAGMA busy_timeout={round(SCHEMA_TIMEOUT * 1000)}")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        if mode in {"write", "durable"}:
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if mode == 'durable' else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN DEFERRED" if mode in {None, "read"} else "BEGIN IMMEDIATE")

    return engine


def _require_whole_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        found = sorted({f"{row[0]} to {row[2]}" for row in broken})
        raise BrokenReferences(found)
