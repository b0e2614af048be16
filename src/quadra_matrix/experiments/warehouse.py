"""Where the aggregate runs: embedded DuckDB over the log or Parquet, any DB-API connection, or any engine of ibis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from quadra_matrix.errors import InvalidValue, MissingExtra
from quadra_matrix.experiments.aggregate import Dialect, Relations, literal
from quadra_matrix.experiments.segments import CONVERSION_COLUMNS, EXPOSURE_COLUMNS, unescaped

MEMORY = "512MB"
"""What DuckDB may use for one query; beyond it, it spills to a temporary folder."""

_TYPES = {"ts": "BIGINT", "phase": "INTEGER", "covariate": "DOUBLE", "value": "DOUBLE"}


class Warehouse(Protocol):
    """A place that holds exposures and conversions and answers SQL about them."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it understands."""

    @property
    def relations(self) -> Relations:
        """What the events are called there."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows that the query gives."""


class DuckDBWarehouse:
    """Embedded DuckDB: the files are read where they are, each time. May be shared between threads."""

    dialect = Dialect.DUCKDB

    def __init__(
        self,
        relations: Relations | Callable[[], Relations],
        *,
        database: str | None = None,
        threads: int = 1,
        restore: Callable[[str], str] | None = None,
    ) -> None:
        """``restore`` turns text as it is stored into what was written."""
        self._relations, self._database, self._threads, self._restore = relations, database, threads, restore

    @classmethod
    def of_log(cls, folder: Path) -> DuckDBWarehouse:
        """Read the segments of an embedded log, those included that appear later."""
        return cls(
            lambda: Relations(
                _segments(folder / "exposures", EXPOSURE_COLUMNS), _segments(folder / "conversions", CONVERSION_COLUMNS)
            ),
            restore=unescaped,
        )

    @classmethod
    def of_parquet(cls, exposures: str, conversions: str) -> DuckDBWarehouse:
        """Read Parquet files; both arguments may hold wildcards."""
        return cls(Relations(f"read_parquet({literal(exposures)})", f"read_parquet({literal(conversions)})"))

    @classmethod
    def of_database(cls, path: str, relations: Relations = Relations()) -> DuckDBWarehouse:  # noqa: B008  frozen
        """Read the tables of a DuckDB file."""
        return cls(relations, database=path)

    @property
    def relations(self) -> Relations:
        """Return the relations as they are now."""
        return self._relations() if callable(self._relations) else self._relations

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Run the query in a connection of its own."""
        with self._connect() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        if self._restore is None:
            return found
        return [tuple(self._restore(cell) if isinstance(cell, str) else cell for cell in row) for row in found]

    def export(self, relation: str, target: Path) -> None:
        """Write a relation to a Parquet file."""
        with self._connect() as connection:
            connection.execute(f"copy (from {relation}) to {literal(str(target))} (format parquet)")

    def _connect(self) -> Any:
        """Open DuckDB with few threads and little memory: it shares the machine with the requests it analyses."""
        try:
            import duckdb
        except ImportError as missing:
            raise MissingExtra("duckdb", "experiments") from missing
        import tempfile

        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": self._threads,
            "memory_limit": MEMORY,
            "preserve_insertion_order": False,
            "temp_directory": tempfile.gettempdir(),
            "autoinstall_known_extensions": False,
        }
        return duckdb.connect(self._database or ":memory:", read_only=self._database is not None, config=settings)


class DbApiWarehouse:
    """Any connection of Python's database interface: psycopg, or the one inside SQLAlchemy's."""

    def __init__(
        self,
        connect: Callable[[], Any],
        dialect: Dialect = Dialect.POSTGRESQL,
        relations: Relations = Relations(),  # noqa: B008  frozen
    ) -> None:
        self._connect, self.dialect, self.relations = connect, dialect, relations

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Run the query in a new connection, and give the connection back."""
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


class IbisWarehouse:
    """A backend of ibis: the query is written for DuckDB and translated to the engine's own SQL."""

    dialect = Dialect.DUCKDB

    def __init__(self, backend: Any, relations: Relations = Relations()) -> None:  # noqa: B008  frozen
        if not (hasattr(backend, "raw_sql") and hasattr(backend, "dialect")):
            raise InvalidValue("backend", type(backend).__name__, "a connection of ibis to an SQL engine")
        self._backend, self.relations = backend, relations

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Translate, run and fetch."""
        try:
            import sqlglot
        except ImportError as missing:
            raise MissingExtra("sqlglot", "warehouse") from missing
        translated = sqlglot.transpile(sql, read="duckdb", write=self._backend.dialect)[0]
        cursor = self._backend.raw_sql(translated)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        if cursor is not self._backend.con:  # DuckDB's own connection is its cursor, and must stay open
            cursor.close()
        return found


def _segments(folder: Path, columns: Iterable[str]) -> str:
    """Return the FROM clause of a folder of segments; a torn line has no mark and is left out."""
    columns = list(columns)
    types = ", ".join(f"'{column}': '{_TYPES.get(column, 'VARCHAR')}'" for column in columns)
    files = sorted(folder.glob("*.tsv"))
    if not files:
        empty = ", ".join(f"cast(null as {_TYPES.get(column, 'VARCHAR')}) as {column}" for column in columns)
        return f"(select {empty} where false) as nothing"
    names = ", ".join(literal(str(file)) for file in files)
    return (
        f"(select * exclude (mark) from read_csv([{names}], columns = {{{types}}}, auto_detect = false, "
        "header = false, delim = '\\t', quote = '', escape = '', new_line = '\\n', null_padding = true, "
        "ignore_errors = true) where mark = '.') as log_lines"
    )
