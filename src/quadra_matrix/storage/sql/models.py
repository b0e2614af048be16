"""Datasets, model versions and aliases on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.store.models import Alias, Catalogue, Dataset, ModelVersion

PUBLISHERS = 0x7175_6D6F_6465
"""PostgreSQL advisory lock that numbers versions one at a time. Any constant does that nobody else uses."""

_DATASET = TypeAdapter(Dataset)
_VERSION = TypeAdapter(ModelVersion)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
)

versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
)

pointers = sa.Table(
    "model_aliases",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("alias", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("moved_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["model_versions.model", "model_versions.version"]),
)


class SqlDatasets:
    """A ``DatasetStore``. May be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, dataset: Dataset) -> None:
        """Record a new dataset."""
        record = _DATASET.dump_python(dataset, mode="json")
        row = {"id": dataset.id, "created_at": dataset.created_at, "record": record}
        with self._database.begin() as connection:
            connection.execute(sa.insert(datasets).values(row))

    def get(self, id: str) -> Dataset | None:  # noqa: A002
        """Return one dataset, or None."""
        with self._database.read() as connection:
            record = connection.scalar(sa.select(datasets.c.record).where(datasets.c.id == id))
        return None if record is None else _DATASET.validate_python(record)

    def all(self) -> list[Dataset]:
        """Return every dataset, newest first."""
        newest = sa.select(datasets.c.record).order_by(datasets.c.created_at.desc(), datasets.c.id.desc())
        with self._database.read() as connection:
            return [_DATASET.validate_python(record) for record in connection.scalars(newest)]

    def remove(self, id: str) -> bool:  # noqa: A002
        """Forget a dataset; tell whether it was there."""
        with self._database.begin() as connection:
            return connection.execute(sa.delete(datasets).where(datasets.c.id == id)).rowcount == 1


class SqlModels:
    """A ``ModelStore``. May be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, draft: ModelVersion, aliases: Mapping[str, bool], place: Callable[[int], None]) -> ModelVersion:
        """Number ``draft`` and record it with its aliases in one transaction, and return it."""
        with self._database.begin() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PUBLISHERS)))
            newest = sa.select(sa.func.max(versions.c.version)).where(versions.c.model == draft.model)
            published = draft.numbered((connection.scalar(newest) or 0) + 1)
            connection.execute(sa.insert(versions).values(_row(published)))
            for alias, moves in aliases.items():
                target = Alias(published.model, alias, published.version, published.created_at)
                if not _update_alias(connection, target) if moves else not _has_alias(connection, target):
                    connection.execute(sa.insert(pointers).values(_alias_row(target)))
            place(published.version)
        return published

    def catalogue(self, known: Catalogue) -> Catalogue:
        """Return every version and alias as of one moment; versions that are ``known`` are not read again."""
        found: dict[str, dict[int, ModelVersion]] = {}
        named: dict[str, dict[str, int]] = {}
        keys = sa.select(versions.c.model, versions.c.version, versions.c.created_at)
        with self._database.read() as connection:
            records = {} if known.versions else _all_records(connection)
            for model, number, created_at in connection.execute(keys.order_by(versions.c.model, versions.c.version)):
                version = known.versions.get(model, {}).get(number)
                # The time tells a version of a restored database from the one that had its number.
                if version is None or version.created_at != created_at:
                    record = records.get((model, number)) or _record(connection, model, number)
                    version = _VERSION.validate_python(record)
                found.setdefault(model, {})[number] = version
            for row in connection.execute(sa.select(pointers).order_by(pointers.c.alias)):
                named.setdefault(row.model, {})[row.alias] = row.version
        return Catalogue(found, named)

    def move(self, alias: Alias) -> bool:
        """Point an alias at a version, making it if needed; tell whether that version exists."""
        version = sa.select(versions.c.version).where(
            versions.c.model == alias.model, versions.c.version == alias.version
        )
        with self._database.begin() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PUBLISHERS)))
            if connection.scalar(version) is None:
                return False
            if not _update_alias(connection, alias):
                connection.execute(sa.insert(pointers).values(_alias_row(alias)))
        return True


def _row(published: ModelVersion) -> dict[str, Any]:
    return {
        "model": published.model,
        "version": published.version,
        "created_at": published.created_at,
        "record": _VERSION.dump_python(published, mode="json"),
    }


def _all_records(connection: Connection) -> dict[tuple[str, int], Any]:
    rows = connection.execute(sa.select(versions.c.model, versions.c.version, versions.c.record))
    return {(row.model, row.version): row.record for row in rows}


def _record(connection: Connection, model: str, number: int) -> Any:
    wanted = sa.and_(versions.c.model == model, versions.c.version == number)
    return connection.scalar(sa.select(versions.c.record).where(wanted))


def _alias_row(alias: Alias) -> dict[str, Any]:
    return {"model": alias.model, "alias": alias.alias, "version": alias.version, "moved_at": alias.moved_at}


def _is(alias: Alias) -> sa.ColumnElement[bool]:
    return sa.and_(pointers.c.model == alias.model, pointers.c.alias == alias.alias)


def _has_alias(connection: Connection, alias: Alias) -> bool:
    return connection.scalar(sa.select(pointers.c.version).where(_is(alias))) is not None


def _update_alias(connection: Connection, alias: Alias) -> bool:
    """Move an alias that is there; tell whether it was."""
    moved = sa.update(pointers).where(_is(alias)).values(version=alias.version, moved_at=alias.moved_at)
    return connection.execute(moved).rowcount == 1
