"""Experiments on SQLite and PostgreSQL: every version, exposure and conversion, and queries over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from quadra_matrix.errors import ExperimentConflict
from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.store.experiments import ConversionRow, ExposureRow, Recorded

RECORDERS = "experiments"
"""The lock that everybody who records a version takes, so that positions become visible in their own order."""

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

versions = sa.Table(
    "experiment_versions",
    metadata,
    sa.Column("position", Number, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
    sa.UniqueConstraint("name", "version"),
    sqlite_autoincrement=True,
)

# Events have no key: a row is never looked up by itself, and an index more would cost every write.
exposures = sa.Table(
    "experiment_exposures",
    metadata,
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("covariate", sa.Double),
    sa.Index("ix_experiment_exposures_experiment_ts", "experiment", "ts"),
)

conversions = sa.Table(
    "experiment_conversions",
    metadata,
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("unit", sa.Text),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.Index("ix_experiment_conversions_experiment_ts", "experiment", "ts"),
)


class SqlExperiments:
    """Where experiments last. May be shared between threads; any number of processes may use one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def dialect(self) -> str:
        """Whose SQL ``rows`` understands: ``sqlite`` or ``postgresql``."""
        return self._database.dialect

    def versions(self, after: int) -> Recorded:
        """Return the versions recorded behind a position; 0 asks for all."""
        newer = sa.select(versions.c.position, versions.c.record).where(versions.c.position > after)
        with self._database.read() as connection:
            found = connection.execute(newer.order_by(versions.c.position)).all()
        return Recorded(found[-1].position if found else after, [row.record for row in found])

    def record(self, name: str, version: int, record: Mapping[str, Any]) -> None:
        """Keep a version durably; raise ``ExperimentConflict`` unless it follows the last of its experiment."""
        newest = sa.select(sa.func.max(versions.c.version)).where(versions.c.name == name)
        with self._database.begin(lock=RECORDERS, durable=True) as connection:
            last = connection.scalar(newest) or 0
            if version != last + 1:
                raise ExperimentConflict(name, last)
            connection.execute(sa.insert(versions).values(name=name, version=version, record=record))

    def append(self, exposed: Sequence[ExposureRow], converted: Sequence[ConversionRow]) -> None:
        """Return once all of these are durable; when it raises, none of them was kept."""
        with self._database.begin(durable=True) as connection:
            if exposed:
                connection.execute(sa.insert(exposures), [row._asdict() for row in exposed])
            if converted:
                connection.execute(sa.insert(conversions), [row._asdict() for row in converted])

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows that a query without parameters gives; a percent sign in it is only a percent sign."""
        with self._database.read() as connection:
            return connection.execution_options(no_parameters=True).exec_driver_sql(sql).all()
