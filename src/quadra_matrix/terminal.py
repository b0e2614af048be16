"""What commands show: JSON for machines, tables for people, errors with an exit code that means something.

The only module outside ``cli.py`` files that writes to standard output.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from quadra_matrix import client


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

_url = click.option(
    "--url",
    envvar="QUADRA_URL",
    default="http://127.0.0.1:5000",
    show_default=True,
    is_eager=True,
    help="Address of the running service.",
)


def _show_key(ctx: click.Context, option: click.Parameter, key: str | None) -> None:
    """Show the key with the command's requests to ``--url``, which is eager and so read before."""
    ctx.with_resource(client.credential(ctx.params["url"], key))


_key = click.option(
    "--api-key",
    envvar="QUADRA_API_KEY",
    callback=_show_key,
    expose_value=False,
    help="API key to show; rather set QUADRA_API_KEY, as other users of this machine can see arguments.",
)

Command = TypeVar("Command", bound=Callable[..., Any])


def url_option(command: Command) -> Command:
    """Add ``--url`` and ``--api-key``; the command receives ``url``, and its requests there show the key."""
    return _url(_key(command))


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
