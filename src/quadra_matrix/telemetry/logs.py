"""Log records as one line of JSON each, or as a readable line for a terminal; secrets hidden, nothing breaks a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from quadra_matrix.telemetry.redact import HIDDEN, is_secret_name, redact

SERVERS = ("werkzeug", "_granian", "granian.access", "gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.access")
"""Loggers of servers, which bring handlers of their own."""
LONGEST = 32_768
"""Characters of a message or a traceback that are written."""
COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

Identify = Callable[[], dict[str, str]]
"""Returns the ids of now, such as ``trace_id`` and ``span_id``; empty outside a trace."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def no_ids() -> dict[str, str]:
    """Return no ids."""
    return {}


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, ids, the record's own fields, exception."""

    def __init__(self, identify: Identify = no_ids) -> None:
        super().__init__()
        self._identify = identify

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **self._identify(),
        }
        for name, value in _fields(record).items():
            told.setdefault(name, value)
        if record.exc_info:
            told["exception"] = redact(self.formatException(record.exc_info)[:LONGEST])
        return json.dumps(told, default=str)  # in ASCII: some letters beyond it end a line too


class TerminalLines(logging.Formatter):
    """A line for people: time of day, coloured level, logger, message, fields, the beginning of the trace id."""

    def __init__(self, identify: Identify = no_ids) -> None:
        super().__init__()
        self._identify = identify

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        level = f"\x1b[{COLOURS.get(record.levelname, '0')}m{record.levelname:<8}\x1b[0m"
        said = _fields(record)
        # What an event says is in its message; its fields, such as breaker.name, are for programs.
        fields = "".join(f" {name}={value}" for name, value in said.items() if name != "event" and "." not in name)
        trace = self._identify().get("trace_id", "")[:8]
        line = f"{_time(record)[11:23]} {level} {record.name}: {_printable(_message(record) + fields)}"
        line += f" [{trace}]" if trace else ""
        if record.exc_info:
            trail = redact(self.formatException(record.exc_info)[:LONGEST])
            line += "\n" + "\n".join(map(_printable, trail.splitlines()))
        return line


def setup_logging(stream: TextIO, *, level: str = "INFO", identify: Identify = no_ids) -> logging.Handler:
    """Write every logger's records to ``stream``: readable on a terminal, JSON elsewhere. Return the handler.

    The root logger's handlers are replaced, and those of the servers removed, so that everything is written once
    and ``level`` holds for all.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalLines(identify) if stream.isatty() else JsonLines(identify))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in SERVERS:
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
        server.setLevel(logging.NOTSET)
    return handler


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """Return the message; a call whose arguments do not fit says so, where the standard library would lose it."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        message = f"{record.msg} (arguments do not fit: {record.args!r})"
    return redact(message[:LONGEST])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what ``extra=`` added, with secrets hidden."""
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {name: HIDDEN if is_secret_name(name) else _clean(value) for name, value in given.items()}


def _clean(value: object) -> Any:
    """Return a value that JSON can hold; NaN and infinity as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return redact(str(value)[:LONGEST])


def _printable(text: str) -> str:
    """Return text without what would end the line or command the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
