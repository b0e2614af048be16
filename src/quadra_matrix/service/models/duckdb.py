"""Read CSV and Parquet files: types inferred from every row, nothing loaded that was not asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.request import MAX_COLUMNS
from quadra_matrix.service.models.values import Column
from quadra_matrix.store.models import ColumnSummary, Kind

MEMORY_LIMIT = "1GB"
MOST_CELLS = 20_000_000
"""Rows times columns that are loaded for a training: 160 MB of numbers. It also stops a Parquet file of a few
kilobytes that unfolds to gigabytes."""

READERS = {
    # A date stays text: it is no number, and its caller would have to send the same spelling to a prediction.
    "csv": "read_csv({file}, delim={delimiter}, quote='\"', escape='\"', header=true, skip=0, "
    "sample_size=-1, strict_mode=true, "
    "nullstr=['', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL'], "
    "auto_type_candidates=['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR'])",
    "parquet": "read_parquet({file})",
}

DELIMITERS = ",;\t|"
MOST_HEADER = 1 << 20
"""Characters of the header that are looked at."""

WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
REAL = {"FLOAT", "DOUBLE"}
TEXT = {"VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME", "UUID", "ENUM"}


def summaries(file: Path, format: str) -> tuple[int, tuple[ColumnSummary, ...]]:  # noqa: A002  the word users see
    """Return the number of rows and what each column holds. Raises ``BadDataset``."""
    with _opened(file, format) as (connection, kinds):
        asked = ", ".join(f"count({_quoted(name)}), count(DISTINCT {_quoted(name)})" for name in kinds)
        counted = connection.execute(f"SELECT count(*), {asked} FROM given").fetchone() or ()  # noqa: S608  quoted
        rows, counts = counted[0], counted[1:]
    if not rows:
        raise BadDataset("the file has a header and no rows")
    columns = (
        ColumnSummary(name, kind, missing=rows - present, distinct=distinct)
        for (name, kind), present, distinct in zip(kinds.items(), counts[::2], counts[1::2], strict=True)
    )
    return rows, tuple(columns)


def columns(file: Path, format: str) -> tuple[Column, ...]:  # noqa: A002
    """Return every column with its values. Raises ``BadDataset``."""
    with _opened(file, format) as (connection, kinds):
        rows = (connection.execute("SELECT count(*) FROM given").fetchone() or (0,))[0]
        if rows * len(kinds) > MOST_CELLS:
            raise BadDataset(
                f"{rows} rows of {len(kinds)} columns are more than the {MOST_CELLS} cells that are loaded"
            )
        asked = ", ".join(_typed(name, kind) for name, kind in kinds.items())
        found = connection.execute(f"SELECT {asked} FROM given").fetchnumpy()  # noqa: S608  quoted
    return tuple(Column(name, kind, _values(found[name], kind)) for name, kind in kinds.items())


@contextlib.contextmanager
def _opened(file: Path, format: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, Kind]]]:  # noqa: A002
    """Yield a connection in which the file is the view ``given``, and the kinds of its columns.

    The connection reads no other file, loads no extension and so asks no network.
    """
    connection = duckdb.connect(":memory:")
    try:
        for name, value in {
            "threads": "1",
            "memory_limit": f"'{MEMORY_LIMIT}'",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allowed_paths": f"[{_text(str(file))}]",
            "enable_external_access": "false",
            "lock_configuration": "true",
        }.items():
            connection.execute(f"SET {name} = {value}")
        delimiter = _text(_delimiter(file)) if format == "csv" else ""
        reader = READERS[format].format(file=_text(str(file)), delimiter=delimiter)
        connection.execute(f"CREATE VIEW given AS SELECT * FROM {reader}")  # noqa: S608  quoted
        described = connection.execute("DESCRIBE given").fetchall()
        yield connection, _kinds({row[0]: row[1] for row in described})
    except duckdb.Error as failed:
        # Its first line says what is wrong; the rest repeats the file's content and suggests SQL.
        raise BadDataset(f"the file is not readable as {format}: {str(failed).splitlines()[0][:300]}") from failed
    finally:
        connection.close()


def _kinds(types: dict[str, str]) -> dict[str, Kind]:
    """Return what each column is. Raises ``BadDataset`` naming those of a type that no model takes."""
    if len(types) > MAX_COLUMNS:
        raise BadDataset(f"the file has {len(types)} columns; at most {MAX_COLUMNS} are read")
    kinds = {name: _kind(kind) for name, kind in types.items()}
    strange = {name: f"is of type {types[name]}" for name, kind in kinds.items() if kind is None}
    if strange:
        raise BadDataset("a column holds numbers, true and false, text or times", strange)
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(kind: str) -> Kind | None:
    plain = kind.partition("(")[0]
    if plain in WHOLE | REAL or plain == "DECIMAL":
        return Kind.NUMBER
    if plain == "BOOLEAN":
        return Kind.FLAG
    return Kind.CATEGORY if plain in TEXT or plain.startswith("TIMESTAMP") else None


def _delimiter(file: Path) -> str:
    """Return what separates the names of a CSV file's header.

    Left to find out by itself, DuckDB also tries other quotes and skips lines until a broken file fits.
    """
    with file.open(encoding="utf-8", errors="replace") as opened:
        unquoted = "".join(opened.readline(MOST_HEADER).split('"')[::2])
    return max(DELIMITERS, key=unquoted.count)


def _typed(name: str, kind: Kind) -> str:
    if kind is Kind.FLAG:
        # A cast would reach into the CSV reader, which would then look for numbers in the file.
        return f"CASE WHEN {_quoted(name)} THEN 1.0 WHEN NOT {_quoted(name)} THEN 0.0 END AS {_quoted(name)}"
    wanted = "VARCHAR" if kind is Kind.CATEGORY else "DOUBLE"
    return f"CAST({_quoted(name)} AS {wanted}) AS {_quoted(name)}"


def _values(found: Any, kind: Kind) -> Any:
    """Return the values of a column, missing ones as NaN or as the empty text."""
    missing = np.ma.getmaskarray(found)
    values = np.ma.getdata(found)
    if kind is Kind.CATEGORY:
        return np.array(["" if gone else text for text, gone in zip(values, missing, strict=True)], dtype=object)
    return np.where(missing, np.nan, values.astype(np.float64))


def _quoted(name: str) -> str:
    """Return a column's name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
