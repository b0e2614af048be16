"""``quadra breakers``: list and change the circuit breakers of a running service."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from quadra_matrix import client
from quadra_matrix.terminal import json_option, print_json, print_table, url_option

COLUMNS = ("name", "state", "mode", "successes", "failures", "rejected", "retry_after", "last_failure")


@click.group()
def breakers() -> None:
    """List, open, close and reset the circuit breakers of a running service."""


@breakers.command("list")
@url_option
@json_option
def list_breakers(url: str, as_json: bool) -> None:
    """List every circuit breaker with its state and counts."""
    found = client.request(_address(url))["circuit_breakers"]
    _show(found, found, as_json=as_json)


@breakers.command("open")
@click.argument("name")
@url_option
@json_option
def force_open(name: str, url: str, as_json: bool) -> None:
    """Refuse every call of NAME until it is closed or reset."""
    _change(name, "open", url, as_json=as_json)


@breakers.command("close")
@click.argument("name")
@url_option
@json_option
def close(name: str, url: str, as_json: bool) -> None:
    """Close NAME and hand it back to its rules."""
    _change(name, "close", url, as_json=as_json)


@breakers.command("reset")
@click.argument("name")
@url_option
@json_option
def reset(name: str, url: str, as_json: bool) -> None:
    """Close NAME and forget its earlier openings."""
    _change(name, "reset", url, as_json=as_json)


def _change(name: str, action: str, url: str, *, as_json: bool) -> None:
    """Ask the service for ``action`` and show what NAME is then."""
    after = client.request(f"{_address(url)}/{quote(name, safe='')}", method="POST", body={"action": action})
    _show(after, [after], as_json=as_json)


def _address(url: str) -> str:
    """Return the address of the breakers of a service."""
    return f"{url.rstrip('/')}/admin/circuit-breakers"


def _show(whole: Any, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print JSON or a table."""
    if as_json:
        print_json(whole)
    else:
        print_table(rows, COLUMNS)
