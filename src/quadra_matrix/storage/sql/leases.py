"""One leader at a time for a piece of work, among all processes and hosts of one database."""

from __future__ import annotations

import sqlalchemy as sa

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.storage.sql.engine import Database, metadata

LOCK = "leases"
"""The lock under which leases change hands."""

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(300), primary_key=True),
    sa.Column("holder", sa.String(300), nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)


class SqlLeases:
    """Leases by name. May be shared between threads; any number of hosts may use one database.

    A lease ends by the holder's clock, so the clocks of the hosts should agree to a few seconds.
    """

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database, self._clock = database, clock

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the lease of ``name``; False while another holder has it."""
        now = self._clock.now()
        with self._database.begin(lock=LOCK) as connection:
            held = connection.execute(sa.select(leases).where(leases.c.name == name)).first()
            if held is not None and held.holder != holder and held.until > now:
                return False
            connection.execute(sa.delete(leases).where(leases.c.name == name))
            connection.execute(sa.insert(leases).values(name=name, holder=holder, until=now + seconds))
        return True

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, if ``holder`` has it."""
        with self._database.begin(lock=LOCK) as connection:
            connection.execute(sa.delete(leases).where(leases.c.name == name, leases.c.holder == holder))
