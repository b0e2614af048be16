"""One database and its transactions; the only place that knows how SQLite and PostgreSQL differ in opening one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.pool import ConnectionPoolEntry

from quadra_matrix.errors import InvalidValue

BUSY_TIMEOUT = 15.0
"""Seconds a SQLite writer waits for another one before it gives up."""

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
    """A pool of connections to ``url``. May be shared between threads, not across a fork."""

    def __init__(self, url: str) -> None:
        try:
            address = sa.make_url(url)
        except sa.exc.ArgumentError:
            rule = "an address like sqlite:///file or postgresql://host/name"
            raise InvalidValue("database_url", "(not shown)", rule) from None  # the address may hold a password
        if address.drivername in {"postgresql", "postgres"}:
            address = address.set(drivername="postgresql+psycopg")
        self.dialect = address.get_backend_name()
        if self.dialect not in {"sqlite", "postgresql"}:
            raise InvalidValue("database_url", f"{self.dialect}://...", "sqlite or postgresql")
        self.engine = _sqlite(address) if self.dialect == "sqlite" else _postgresql(address)

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Yield a connection inside one write transaction: committed at the end, rolled back on an exception.

        On SQLite the write lock is taken at the start (BEGIN IMMEDIATE), so a transaction that reads and then
        writes never fails half-way with "database is locked".
        """
        with self.engine.connect() as connection:
            connection.info["mode"] = "IMMEDIATE"
            try:
                with connection.begin():
                    yield connection
            finally:
                connection.info.pop("mode", None)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside one read transaction: every query sees the same state."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close every idle connection; the next use opens new ones (also after a fork)."""
        self.engine.dispose()


def _postgresql(address: sa.URL) -> sa.Engine:
    """Return an engine that notices a restarted server."""
    return sa.create_engine(
        address, pool_pre_ping=True, pool_size=5, max_overflow=10, pool_timeout=10, connect_args={"connect_timeout": 10}
    )


def _sqlite(address: sa.URL) -> sa.Engine:
    """Return an engine with WAL, foreign keys, a busy timeout, and transactions that begin when we say so."""
    engine = sa.create_engine(address, connect_args={"timeout": BUSY_TIMEOUT})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the sqlite3 module must not begin transactions by itself
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.info.get('mode', 'DEFERRED')}")

    return engine
