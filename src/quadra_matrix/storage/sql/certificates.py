"""What hosts share about their certificates, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.storage.sql.leases import SqlLeases

LOCK = "certificates"
"""The lock under which entries change."""

entries = sa.Table(
    "certificate_entries",
    metadata,
    sa.Column("name", sa.String(300), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("until", sa.Double),
)


class SqlCertificates:
    """A ``CertificateStore``. May be shared between threads; any number of hosts may use one database."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database, self._clock = database, clock
        self._leases = SqlLeases(database, clock)

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the lease of ``name``; False while another holder has it."""
        return self._leases.lead(f"certificate {name}", holder, seconds)

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, if ``holder`` has it."""
        self._leases.leave(f"certificate {name}", holder)

    def read(self, name: str) -> bytes | None:
        """Return an entry, or None if there is none or its time is over."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(entries).where(entries.c.name == name)).first()
        if found is None or (found.until is not None and found.until <= self._clock.now()):
            return None
        return bytes(found.content)

    def write(self, name: str, content: bytes | None, *, until: float | None = None) -> None:
        """Replace an entry whole, or remove it with None; after ``until``, seconds since the epoch, it is gone."""
        # Durable: the account key and an issued certificate are written once, and a lost one costs an order.
        with self._database.begin(lock=LOCK, durable=True) as connection:
            self._forget(connection, name)
            if content is not None:
                connection.execute(sa.insert(entries).values(name=name, content=content, until=until))

    def _forget(self, connection: Connection, name: str) -> None:
        """Remove the entry and every one whose time is over: a leader that died removed nothing."""
        connection.execute(sa.delete(entries).where((entries.c.name == name) | (entries.c.until <= self._clock.now())))
