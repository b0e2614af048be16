"""Events for tests, written into any warehouse, and a plain reference that counts them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from quadra_matrix.experiments.aggregate import Dialect, Relations
from quadra_matrix.experiments.log import Batch, Conversion
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.serve import Cell
from quadra_matrix.experiments.warehouse import DbApiWarehouse, DuckDBWarehouse, IbisWarehouse, Warehouse

TABLES = (
    "create table experiment_exposures (ts bigint, experiment varchar(200), phase int, variant varchar(200), "
    "unit varchar(200), covariate double precision)",
    "create table experiment_conversions (ts bigint, event_id varchar(200), experiment varchar(200), phase int, "
    "variant varchar(200), unit varchar(200), metric varchar(200), value double precision)",
)
EXPOSURE = "insert into experiment_exposures values ({0}, {0}, {0}, {0}, {0}, {0})"
CONVERSION = "insert into experiment_conversions values ({0}, {0}, {0}, {0}, {0}, {0}, {0}, {0})"


@dataclass(frozen=True)
class Seen:
    """One exposure."""

    at: float
    unit: str
    variant: str
    phase: int = 1
    covariate: float | None = None

    @property
    def row(self) -> tuple[Any, ...]:
        return (int(self.at * 1e6), "exp", self.phase, self.variant, self.unit, self.covariate)


def convert(at: float, event_id: str, unit: str | None, value: float | None = None, **other: Any) -> Conversion:
    """Return a conversion of the experiment ``exp``."""
    given = {"variant": "", "phase": 1, "metric": "conversion", **other}
    return Conversion(at, event_id, "exp", given["phase"], given["variant"], unit, given["metric"], value)


def conversion_row(one: Conversion) -> tuple[Any, ...]:
    return (int(one.at * 1e6), one.event_id, one.experiment, one.phase, one.variant, one.unit, one.metric, one.value)


def fill(cursor: Any, mark: str, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> None:
    """Make the tables and put the events in."""
    for table in TABLES:
        cursor.execute(table)
    if exposures:
        cursor.executemany(EXPOSURE.format(mark), [one.row for one in exposures])
    if conversions:
        cursor.executemany(CONVERSION.format(mark), [conversion_row(one) for one in conversions])


def in_segments(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
    cells = {(one.phase, one.variant): Cell("exp", one.phase, one.variant) for one in exposures}
    lines = [(one.at, cells[one.phase, one.variant], one.unit, one.covariate) for one in exposures]
    sink = SegmentFolder(folder / "log")
    sink.write(Batch(lines, conversions))
    sink.close()
    return DuckDBWarehouse.of_log(folder / "log")


def in_parquet(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
    log = in_segments(folder, exposures, conversions)
    assert isinstance(log, DuckDBWarehouse)
    log.export(log.relations.exposures, folder / "exposures.parquet")
    log.export(log.relations.conversions, folder / "conversions.parquet")
    return DuckDBWarehouse.of_parquet(str(folder / "exposures.parquet"), str(folder / "conversions*.parquet"))


def in_duckdb_file(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
    with duckdb.connect(str(folder / "events.duckdb")) as connection:
        fill(connection, "?", exposures, conversions)
    return DuckDBWarehouse.of_database(str(folder / "events.duckdb"))


def in_sqlite(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
    connection = sqlite3.connect(folder / "events.sqlite")
    fill(connection, "?", exposures, conversions)
    connection.commit()
    connection.close()
    return DbApiWarehouse(lambda: sqlite3.connect(folder / "events.sqlite"), Dialect.SQLITE)


def in_ibis(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
    import ibis

    in_duckdb_file(folder, exposures, conversions)
    return IbisWarehouse(ibis.duckdb.connect(str(folder / "events.duckdb"), read_only=True), Relations())
