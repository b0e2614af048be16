"""Bring a database to the newest revision, once, however many processes ask; and tell whether it is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from quadra_matrix.errors import InvalidValue, UnknownRevision
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.schema import all_tables

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did, or a downgrade."""

    before: str | None
    """Revision of the database before; None for an empty one."""
    after: str
    applied: tuple[str, ...]
    """The revisions that ran, in their order; none when another process was faster."""


def head() -> str:
    """Return the newest revision this version of the package knows."""
    return str(ScriptDirectory(str(FOLDER)).get_current_head())


def knows(revision: str) -> bool:
    """Tell whether this version of the package knows the revision, and so can upgrade from it."""
    script = ScriptDirectory(str(FOLDER))
    return revision in {step.revision for step in script.walk_revisions()}


def current(database: Database) -> str | None:
    """Return the revision of the database; None for one that was never upgraded."""
    with database.read() as connection:
        return _current(connection)


def upgrade(database: Database) -> Upgrade:
    """Bring the database to the newest revision, all or nothing.

    Several processes may ask at once: the first does it, the others wait and find it done. Raises ``UnknownRevision``
    for a database that a newer version has upgraded.
    """
    with database.change_schema() as connection:
        before = _current(connection)
        steps = _steps_after(before)
        if steps:
            command.upgrade(configuration(connection), "head")
            log.info("upgraded the database from %s to %s", before or "nothing", head())
        return Upgrade(before, after=head(), applied=steps)


def downgrade(database: Database, to: str) -> Upgrade:
    """Bring the database back to revision ``to``, all or nothing; the tables that came after it go with their rows.

    Only for a release that does not run on the newer tables, which a release before them does. Raises
    ``UnknownRevision`` for a revision that this version does not know, ``InvalidValue`` for one that is not older.
    """
    with database.change_schema() as connection:
        before = _current(connection)
        if not knows(to):
            raise UnknownRevision(to, head())
        undone = _steps_after(to)
        if before is None or before == to or before not in undone:
            raise InvalidValue("revision", to, f"older than {before or 'nothing'}, where the database is")
        command.downgrade(configuration(connection), to)
        log.warning("took the database back from %s to %s", before, to)
        return Upgrade(before, after=to, applied=tuple(reversed(undone[: undone.index(before) + 1])))


def drift(database: Database) -> list[str]:
    """Return how the tables differ from what the package defines; empty when they do not."""
    with database.read() as connection:
        context = _context(connection)
        return [_sentence(difference) for difference in compare_metadata(context, all_tables())]


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration for work on an open connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def _current(connection: Connection) -> str | None:
    return _context(connection).get_current_revision()


def _context(connection: Connection) -> MigrationContext:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # at INFO it says what it assumes of the database
    return MigrationContext.configure(connection, opts={"compare_type": True})


def _steps_after(revision: str | None) -> tuple[str, ...]:
    """Return the revisions that follow ``revision``, oldest first."""
    script = ScriptDirectory(str(FOLDER))
    history = [step.revision for step in script.walk_revisions()]
    if revision is None:
        return tuple(reversed(history))
    if revision not in history:
        raise UnknownRevision(revision, head())
    return tuple(reversed(history[: history.index(revision)]))


def _sentence(difference: object) -> str:
    """Return one of Alembic's differences in words; a change of a column comes as a list of them."""
    if isinstance(difference, list):
        return "; ".join(_sentence(part) for part in difference)
    what, *where = difference if isinstance(difference, tuple) else (str(difference),)
    named = [str(getattr(part, "name", part)) for part in where if part is not None and not isinstance(part, dict)]
    return f"{what}: {' '.join(named)}"
