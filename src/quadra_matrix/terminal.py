"""What commands show: JSON for machines, tables for people, errors with an exit code that means something.

The only module outside ``cli.py`` files that writes to standard output.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NEEDS_ANSWER = 4
    UNKNOWN_STATE = 5
    UNDECIDED = 6


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
"""Adds ``--json``; the command receives ``as_json``."""

url_option = click.option(
    "--url",
    envvar="QUADRA_URL",
    default="http://127.0.0.1:5000",
    show_default=True,
    help="Address of the running service.",
)
"""Adds ``--url``; the command receives ``url``."""


def print_json(value: object) -> None:
    """Print ``value`` as one JSON document; NaN and infinity are refused."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print ``rows`` under ``columns``: aligned plain text, so that it survives a pipe."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    for line in [list(columns), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    """Return the short text of one cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def remark(text: str) -> None:
    """Print a remark to standard error, so that results stay clean."""
    click.echo(text, err=True)


def fail(text: str, code: Exit = Exit.FAILED) -> SystemExit:
    """Print ``text`` to standard error and return the exit to raise."""
    click.echo(f"error: {text}", err=True)
    return SystemExit(int(code))


def is_terminal() -> bool:
    """Tell whether a person watches standard output."""
    return sys.stdout.isatty()


def can_answer() -> bool:
    """Tell whether a person who watches standard output can also be asked."""
    return is_terminal() and sys.stdin.isatty()
