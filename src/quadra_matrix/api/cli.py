"""``quadra api``: write, check and compare the documents of an API."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from quadra_matrix import client
from quadra_matrix.api.diff import compare
from quadra_matrix.api.lint import remarks
from quadra_matrix.errors import InvalidValue, require
from quadra_matrix.terminal import Exit, json_option, print_json, print_table, remark, url_option

_NAMES = {"3.0": "openapi.json", "3.1": "openapi-3.1.json", "asyncapi": "asyncapi.json"}

app_option = click.option("--app", "address", help="The app itself, as module:app or module:factory; starts no server.")


@click.group()
def api() -> None:
    """Write, check and compare the documents of an API."""


@api.command()
@app_option
@url_option
@click.option("--format", "kind", type=click.Choice(list(_NAMES)), default="3.0", show_default=True)
def spec(address: str | None, url: str, kind: str) -> None:
    """Print the document of an app or of a running service."""
    print_json(_document(address, url, kind))


@api.command()
@app_option
@url_option
@json_option
def lint(address: str | None, url: str, as_json: bool) -> None:
    """Name what readers and generated clients would stumble over; exit 1 if there is anything."""
    found = [dataclasses.asdict(each) for each in remarks(_document(address, url, "3.1"))]
    if as_json:
        print_json(found)
    elif found:
        print_table(found, ["pointer", "what"])
    if found:
        sys.exit(Exit.FAILED)
    remark("nothing to remark")


@api.command()
@click.argument("old")
@click.argument("new")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two documents, files or addresses; exit 1 if clients of OLD break on NEW."""
    changes = compare(_read(old), _read(new))
    found = [{**dataclasses.asdict(change), "is_breaking": change.is_breaking} for change in changes]
    if as_json:
        print_json(found)
    else:
        marked = [{**row, "breaks": "yes" if row["is_breaking"] else "no"} for row in found]
        print_table(marked, ["breaks", "pointer", "what"])
    breaking = sum(change.is_breaking for change in changes)
    remark(f"{breaking} of {len(changes)} changes break clients")
    if breaking:
        sys.exit(Exit.FAILED)


def _document(address: str | None, url: str, kind: str) -> Any:
    """Return the document of an app, or what the running service says."""
    if address is None:
        return client.request(f"{url.rstrip('/')}/api/{_NAMES[kind]}")
    from quadra_matrix.api.flask.documentation import documentation_of

    found = documentation_of(_load(address))
    makers = {"3.0": found.openapi, "3.1": found.openapi31, "asyncapi": found.asyncapi}
    return makers[kind]()


def _load(address: str) -> Any:
    """Return the app at ``module:name``; a factory is called."""
    module, _, name = address.partition(":")
    require(bool(module and name), "--app", address, "module:app or module:factory")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name.removesuffix("()"))
    except (ImportError, AttributeError) as missing:
        raise InvalidValue("--app", address, f"importable ({missing})") from missing
    return found if hasattr(found, "url_map") else found()


def _read(place: str) -> Any:
    """Return the JSON of a file or an address."""
    if place.startswith(("http://", "https://")):
        return client.request(place)
    try:
        return json.loads(Path(place).read_bytes())
    except (OSError, ValueError) as unreadable:
        raise InvalidValue("document", place, f"a JSON file or an address ({unreadable})") from unreadable
