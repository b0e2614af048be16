"""Recent traces in one SQLite file that does not grow past its bound."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra_matrix.errors import TracesUnavailable, require
from quadra_matrix.telemetry.span import Span, SpanEvent, Value

log = logging.getLogger(__name__)

PAGE = 4096
"""Bytes of a SQLite page."""
SMALLEST = 64 * PAGE
BUSY = 5.0
"""Seconds a write waits for another process's; spans come from the exporting thread, so no request waits."""
MOST_LISTED = 1000
LONGEST = 4096
"""Characters of one attribute that are kept: one span must not push every other trace out."""

TABLES = """
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, name TEXT NOT NULL, kind TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER NOT NULL, service TEXT NOT NULL, error TEXT,
    attributes TEXT NOT NULL, events TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_by_start ON spans (started);
"""
COLUMNS = "trace_id, span_id, parent_id, name, kind, started, ended, service, error, attributes, events"
SUMMARIES = """
SELECT trace_id, min(started), max(ended), count(*), count(error),
       group_concat(DISTINCT service),
       -- the span that nobody in the store called; of several, the first
       (SELECT name FROM spans root WHERE root.trace_id = spans.trace_id
        ORDER BY root.parent_id IN (SELECT span_id FROM spans o WHERE o.trace_id = root.trace_id), root.started LIMIT 1)
FROM spans WHERE trace_id IN (
    SELECT trace_id FROM spans WHERE (:service IS NULL OR service = :service) AND (NOT :errors OR error IS NOT NULL)
    GROUP BY trace_id ORDER BY max(started) DESC LIMIT :limit
) GROUP BY trace_id ORDER BY min(started) DESC
"""


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a list of traces."""

    trace_id: str
    name: str
    """The name of the span that began it."""
    services: tuple[str, ...]
    start: int
    """Nanoseconds since the epoch, UTC."""
    seconds: float
    spans: int
    errors: int

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values; ``start`` in seconds."""
        return {
            "trace_id": self.trace_id,
            "name": self.name,
            "services": list(self.services),
            "start": self.start / 1e9,
            "seconds": self.seconds,
            "spans": self.spans,
            "errors": self.errors,
        }


class TraceStore:
    """Keeps the newest spans of ``file``, at most ``limit`` bytes of them. Shared between threads and processes.

    Every call opens the file by itself, so nothing breaks in a fork, or when somebody removes the file. The oldest
    tenth goes when the bound is reached. A file that is busy, full or broken raises ``TracesUnavailable``.
    """

    def __init__(self, file: Path, limit: int = 64 * 1024 * 1024) -> None:
        require(limit >= SMALLEST, "limit", limit, f"at least {SMALLEST} bytes")
        self._file, self._most_pages = file, limit // PAGE
        file.parent.mkdir(parents=True, exist_ok=True)

    def add(self, spans: Sequence[Span]) -> None:
        """Keep spans; one that is there already is replaced, so a batch may come twice."""
        with self._opened() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            slots = ", ".join("?" * 11)
            rows = map(_row, spans)
            connection.executemany(f"INSERT OR REPLACE INTO spans ({COLUMNS}) VALUES ({slots})", rows)  # noqa: S608
            self._make_room(connection)

    def traces(self, *, limit: int = 50, service: str | None = None, has_error: bool = False) -> list[TraceSummary]:
        """Return the newest traces first, at most ``limit``: all, those of a service, or those with a failed span."""
        require(0 < limit <= MOST_LISTED, "limit", limit, f"from 1 to {MOST_LISTED}")
        asked = {"limit": limit, "service": service, "errors": has_error}
        with self._opened() as connection:
            return [_summary(row) for row in connection.execute(SUMMARIES, asked)]

    def trace(self, trace_id: str) -> tuple[Span, ...]:
        """Return the spans of a trace by their start; empty if it is not, or no longer, there."""
        query = f"SELECT {COLUMNS} FROM spans WHERE trace_id = ? ORDER BY started, ended DESC"  # noqa: S608
        with self._opened() as connection:
            return tuple(_span(row) for row in connection.execute(query, (trace_id,)))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._file, timeout=BUSY, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost the newest traces, nothing else
                if not _is_ready(connection):
                    self._prepare(connection)
                yield connection
        except (sqlite3.OperationalError, OSError) as failed:
            raise TracesUnavailable(str(failed)) from failed
        except sqlite3.DatabaseError as broken:
            self._set_aside()
            raise TracesUnavailable(f"{broken}; they begin anew") from broken

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables; alone, since SQLite does not wait for whoever changes the kind of the journal."""
        lock = os.open(f"{self._file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_ready(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(TABLES)
        finally:
            os.close(lock)

    def _set_aside(self) -> None:
        """Move a broken file away: recent traces are worth less than the next ones."""
        log.warning("%s is broken; it is kept with .broken at its end, and traces begin anew", self._file)
        for suffix in ("", "-wal", "-shm"):
            path = Path(f"{self._file}{suffix}")
            path.unlink(missing_ok=True) if suffix else path.replace(f"{path}.broken")

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Delete the oldest spans until the pages in use are below the bound."""
        while _pages(connection) > self._most_pages:
            (count,) = connection.execute("SELECT count(*) FROM spans").fetchone()
            connection.execute(
                "DELETE FROM spans WHERE started <= (SELECT started FROM spans ORDER BY started LIMIT 1 OFFSET ?)",
                (count // 10,),
            )


def as_json(span: Span) -> dict[str, Any]:
    """Return a span as JSON values; times stay nanoseconds."""
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "start": span.start,
        "end": span.end,
        "service": span.service,
        "error": span.error,
        "attributes": dict(span.attributes),
        "events": _events(span),
    }


def from_json(document: Mapping[str, Any]) -> Span:
    """Return the span that ``as_json`` wrote."""
    events = tuple(
        SpanEvent(event["name"], event["at"], _attributes(event["attributes"])) for event in document["events"]
    )
    return Span(**{**document, "attributes": _attributes(document["attributes"]), "events": events})


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Tell whether the file has its tables; making them ends with the index."""
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    made = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'spans_by_start'").fetchone()
    return bool(journal == "wal" and made == (1,))


def _pages(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages) - int(free)


def _row(span: Span) -> tuple[Any, ...]:
    attributes, events = json.dumps(_short(span.attributes)), json.dumps(_events(span))
    head = (span.trace_id, span.span_id, span.parent_id, span.name[:LONGEST], span.kind, span.start, span.end)
    return (*head, span.service[:LONGEST], span.error and span.error[:LONGEST], attributes, events)


def _events(span: Span) -> list[dict[str, Any]]:
    return [{"name": event.name, "at": event.at, "attributes": _short(event.attributes)} for event in span.events]


def _short(attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {key: _kept(value) for key, value in attributes.items()}


def _kept(value: Value) -> Value:
    """Return a value that is not too long; NaN and infinity, which JSON does not have, as text."""
    if isinstance(value, str):
        return value[:LONGEST]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _attributes(found: Mapping[str, Any]) -> dict[str, Value]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}


def _span(row: tuple[Any, ...]) -> Span:
    *head, attributes, events = row
    names = ("trace_id", "span_id", "parent_id", "name", "kind", "start", "end", "service", "error")
    return from_json(
        dict(zip(names, head, strict=True)) | {"attributes": json.loads(attributes), "events": json.loads(events)}
    )


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    trace_id, start, end, spans, errors, services, name = row
    return TraceSummary(trace_id, name, tuple(sorted(services.split(","))), start, (end - start) / 1e9, spans, errors)
