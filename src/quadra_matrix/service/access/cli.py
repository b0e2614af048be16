"""``quadra keys``: hand out API keys, list them, end them. Works on the database, with or without a running service."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import require
from quadra_matrix.service.settings import SCOPES, load
from quadra_matrix.terminal import json_option, print_json, print_table, remark

if TYPE_CHECKING:
    from quadra_matrix.access.keyring import Keyring
    from quadra_matrix.store.keys import KeyRecord

COLUMNS = ("id", "name", "scopes", "created", "expires", "revoked")

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@click.group()
def keys() -> None:
    """Create, list and revoke the API keys of the service."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(sorted(SCOPES | {"*"})),
    help="What the key is allowed; may be given more than once. * is everything.",
)  # fmt: skip
@click.option("--expires-in", default="90d", show_default=True, help="How long it holds: 30m, 12h, 90d, or never.")
@json_option
def create(name: str, scopes: tuple[str, ...], expires_in: str, as_json: bool) -> None:
    """Make an API key and print its secret: the only time that it is shown. NAME says who or what will use it."""
    with _keyring() as keyring:
        record, secret = keyring.create(name, scopes, seconds=_duration(expires_in))
    if as_json:
        print_json(_row(record) | {"key": secret})
    else:
        click.echo(secret)
        remark(f"key {record.id} for {name}; keep it now, it is not shown again")


@keys.command("list")
@json_option
def listed(as_json: bool) -> None:
    """List the API keys, newest first; secrets are not kept and cannot be shown."""
    with _keyring() as keyring:
        rows = [_row(record) for record in keyring.list()]
    if as_json:
        print_json({"keys": rows})
    else:
        print_table([row | {"scopes": ",".join(row["scopes"])} for row in rows], COLUMNS)


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """End the key ID and the sessions that were opened with it: here at once, on other machines within 2 s."""
    with _keyring() as keyring:
        row = _row(keyring.revoke(key_id))
    if as_json:
        print_json(row)
    else:
        remark(f"key {key_id} for {row['name']} is revoked")


def _duration(text: str) -> float | None:
    """Return the seconds that ``90d`` stands for; None for ``never``."""
    if text == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    require(found is not None, "--expires-in", text, "a number and m, h or d, such as 90d, or never")
    assert found is not None
    return float(found[1]) * _SECONDS[found[2]]


def _row(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "scopes": [*record.scopes],
        "created": _moment(record.created),
        "expires": _moment(record.expires),
        "revoked": _moment(record.revoked),
        "holds": (record.ends() or float("inf")) > SYSTEM_CLOCK.now(),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def _keyring() -> Iterator[Keyring]:
    from quadra_matrix.service.access.wiring import keyring_of
    from quadra_matrix.storage.sql import Database

    settings = load()
    database = Database(settings.database_url)
    try:
        yield keyring_of(settings, database)
    finally:
        database.close()
