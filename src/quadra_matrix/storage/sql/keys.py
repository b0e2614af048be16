"""API keys and sessions on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from quadra_matrix.errors import UnknownKey
from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.store.keys import KeyKind, KeyRecord

keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("revoked", sa.Double),
    sa.Column("parent", sa.Text, index=True),
)


class SqlKeys:
    """A ``KeyStore`` in the service's database. May be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: KeyRecord) -> None:
        """Keep a new record; sessions that expired before it was made are forgotten."""
        row = {name: getattr(record, name) for name in KeyRecord.__slots__} | {"scopes": [*record.scopes]}
        over = sa.delete(keys).where(keys.c.kind == KeyKind.SESSION, keys.c.expires < record.created)
        with self._database.begin(durable=True) as connection:
            connection.execute(over)
            connection.execute(sa.insert(keys).values(row))

    def find(self, key_id: str) -> KeyRecord | None:
        """Return the record of an id, or None."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id)).one_or_none()
        return _record(row) if row else None

    def list(self) -> Sequence[KeyRecord]:
        """Return every API key, newest first; sessions are left out."""
        asked = sa.select(keys).where(keys.c.kind == KeyKind.API).order_by(keys.c.created.desc(), keys.c.id)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(asked)]

    def revoke(self, key_id: str, now: float) -> KeyRecord:
        """Return the record, revoked at the latest ``now``, its sessions with it. Raises ``UnknownKey``."""
        own_and_sessions = sa.or_(keys.c.id == key_id, keys.c.parent == key_id)
        ended = sa.update(keys).where(own_and_sessions, keys.c.revoked.is_(None)).values(revoked=now)
        with self._database.begin(durable=True) as connection:
            connection.execute(ended)
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id)).one_or_none()
        if row is None:
            raise UnknownKey(key_id)
        return _record(row)


def _record(row: sa.Row[tuple[object, ...]]) -> KeyRecord:
    found = row._asdict()
    return KeyRecord(**found | {"kind": KeyKind(found["kind"]), "scopes": tuple(found["scopes"])})
