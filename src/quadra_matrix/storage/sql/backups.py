"""What became of backups, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.store.backups import BackupRecord

KEPT = 1000
"""Records that stay; older ones go with each new one."""

attempts = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("finished", sa.Double, nullable=False),
    sa.Column("name", sa.String(300)),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Text),
)


class SqlBackups:
    """A ``BackupLog``. May be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: BackupRecord) -> None:
        """Keep the record, and forget the oldest."""
        with self._database.begin() as connection:
            connection.execute(
                sa.insert(attempts).values(
                    started=record.started, finished=record.finished, name=record.name, size=record.size,
                    error=record.error,
                )
            )  # fmt: skip
            newest = sa.select(attempts.c.id).order_by(attempts.c.id.desc()).limit(KEPT).subquery()
            connection.execute(sa.delete(attempts).where(attempts.c.id.not_in(sa.select(newest.c.id))))

    def latest(self, limit: int) -> list[BackupRecord]:
        """Return the newest records, newest first."""
        return self._read(sa.select(attempts).order_by(attempts.c.id.desc()).limit(limit))

    def last_made(self) -> BackupRecord | None:
        """Return the newest record of a backup that was made."""
        made = sa.select(attempts).where(attempts.c.name.is_not(None)).order_by(attempts.c.id.desc()).limit(1)
        return next(iter(self._read(made)), None)

    def _read(self, query: sa.Select[Any]) -> list[BackupRecord]:
        with self._database.read() as connection:
            return [
                BackupRecord(row.started, row.finished, row.name, row.size, row.error)
                for row in connection.execute(query)
            ]
