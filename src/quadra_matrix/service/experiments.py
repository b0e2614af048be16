"""Experiments of the ready service, kept in its database."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quadra_matrix.errors import DatabaseUnavailable, EventsNotDurable, TablesMissing
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.experiments.aggregate import MICRO, Dialect, Relations
from quadra_matrix.experiments.definition import Definition
from quadra_matrix.experiments.log import Batch, Conversion, Exposure
from quadra_matrix.experiments.ports import Changes
from quadra_matrix.experiments.segments import escaped, unescaped
from quadra_matrix.experiments.wire import from_json, to_json
from quadra_matrix.storage.sql.experiments import SqlExperiments, conversions, exposures
from quadra_matrix.store.experiments import ConversionRow, ExposureRow

log = logging.getLogger(__name__)


class ChangesFile:
    """A file that grows by a byte with every change; its size, a look of two microseconds, tells who is behind."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = str(path)

    def grow(self) -> None:
        """Let every process of this machine know that the database holds something new."""
        with Path(self._path).open("ab") as file:
            file.write(b".")

    def size(self) -> int:
        """Return how many changes there were."""
        try:
            return os.stat(self._path).st_size  # noqa: PTH116  a Path costs as much again, on every prediction
        except FileNotFoundError:
            return 0


class DatabaseStore:
    """A ``Store`` of the experiments room in the service's database. May be shared between threads."""

    def __init__(self, tables: SqlExperiments, noted: ChangesFile) -> None:
        self._tables, self._noted = tables, noted

    def changes(self, after: int) -> Changes:
        """Return the versions recorded behind a position; 0 asks for all."""
        recorded = self._tables.versions(after)
        return Changes(recorded.position, [from_json(record) for record in recorded.records])

    def record(self, definition: Definition) -> None:
        """Keep a version durably; raise ``ExperimentConflict`` unless it follows the last of its experiment."""
        self._tables.record(definition.name, definition.version, to_json(definition))
        self._noted.grow()

    def sink(self) -> DatabaseSink:
        """Return the tables of events as what a log writes to."""
        return DatabaseSink(self._tables)

    def warehouse(self) -> DatabaseWarehouse:
        """Return the tables of events as what the aggregate reads."""
        return DatabaseWarehouse(self._tables)


class DatabaseSink:
    """Writes each group of events as one transaction.

    A connection that breaks while PostgreSQL commits leaves open whether the group was kept; it is written again, so
    its exposures may be there twice. Results count each user and each event id once all the same.
    """

    def __init__(self, tables: SqlExperiments) -> None:
        self._tables = tables

    def write(self, batch: Batch) -> None:
        """Return once the batch is durable; raise ``OSError`` when the database does not take it."""
        exposed = [_exposure(exposure) for exposure in batch.exposures]
        converted = [_conversion(conversion) for conversion in batch.conversions]
        try:
            self._tables.append(exposed, converted)
        except (DatabaseUnavailable, TablesMissing) as away:
            raise OSError(str(away)) from away

    def close(self) -> None:
        """Do nothing: the connections belong to the database, and are open only while they write."""


class DatabaseWarehouse:
    """Counts where the events are, in one statement that sees one moment and holds up no writer.

    SQLite sorts the events of an experiment on one core, for some three seconds a million exposures and metric;
    beyond a few millions, choose PostgreSQL.
    """

    relations = Relations(exposures.name, conversions.name)

    def __init__(self, tables: SqlExperiments) -> None:
        self._tables = tables

    @property
    def dialect(self) -> Dialect:
        """Whose SQL the database understands."""
        return Dialect(self._tables.dialect)

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows that the query gives, texts as they were before they were escaped."""
        found = self._tables.rows(sql)
        return [[unescaped(cell) if isinstance(cell, str) else cell for cell in row] for row in found]


def close(framework: ABTestingFramework) -> None:
    """Flush what waits at the end of a worker; what cannot be written any more is said in the log."""
    try:
        framework.close()
    except EventsNotDurable as lost:
        log.error("the worker ends and experiment events are lost: %s", lost)


def _exposure(exposure: Exposure) -> ExposureRow:
    at, cell, unit, covariate = exposure
    return ExposureRow(int(at * MICRO), cell.experiment, cell.phase, cell.variant, escaped(unit), covariate)


def _conversion(one: Conversion) -> ConversionRow:
    """Return the row of a value. Units and ids are escaped as in files: a database takes no zero byte in a text."""
    unit = None if one.unit is None else escaped(one.unit)
    value = None if one.value is None else float(one.value)
    event = escaped(one.event_id)
    return ConversionRow(int(one.at * MICRO), event, one.experiment, one.phase, one.variant, unit, one.metric, value)
