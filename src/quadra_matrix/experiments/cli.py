"""``quadra experiments``: run and read experiments of a running service, or of a folder with ``--storage``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import click

from quadra_matrix import client
from quadra_matrix.terminal import json_option, print_json, print_table, url_option

storage_option = click.option(
    "--storage",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a library's experiments, instead of a running service.",
)


@click.group()
def experiments() -> None:
    """Create, start, stop and read A/B experiments."""


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the experiments are, and how to print."""
    return url_option(storage_option(json_option(command)))


@experiments.command("list")
@options
def list_experiments(url: str, storage: Path | None, as_json: bool) -> None:
    """List every experiment with its status."""
    found = _ask(url, storage, "/experiments")["experiments"]
    if as_json:
        print_json(found)
    else:
        print_table([_line(each) for each in found], COLUMNS)


@experiments.command("create")
@click.argument("file", type=click.File("r"))
@options
def create(file: TextIO, url: str, storage: Path | None, as_json: bool) -> None:
    """Create a draft from the JSON in FILE (- for standard input)."""
    try:
        fields = json.load(file)
    except ValueError as malformed:
        raise click.UsageError(f"{file.name} is not JSON: {malformed}") from malformed
    _show(_ask(url, storage, "/experiments", fields), as_json=as_json)


@experiments.command("start")
@click.argument("name")
@options
def start(name: str, url: str, storage: Path | None, as_json: bool) -> None:
    """Start NAME, or go on after a pause."""
    _show(_ask(url, storage, f"{_path(name)}/start", {}), as_json=as_json)


@experiments.command("stop")
@click.argument("name")
@click.option("--winner", help="Variant to serve from now on; the control without one.")
@click.option("--pause", is_flag=True, help="Stop for now: start goes on.")
@options
def stop(name: str, winner: str | None, pause: bool, url: str, storage: Path | None, as_json: bool) -> None:
    """Stop NAME for good, or for now."""
    if pause and winner:
        raise click.UsageError("a paused experiment has no winner")
    body = {"winner": winner} if winner else {}
    _show(_ask(url, storage, f"{_path(name)}/{'pause' if pause else 'complete'}", body), as_json=as_json)


@experiments.command("results")
@click.argument("name")
@options
def results(name: str, url: str, storage: Path | None, as_json: bool) -> None:
    """Show what NAME has found so far; looking costs nothing."""
    found = _ask(url, storage, f"{_path(name)}/results")
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['decision']['verdict']}: {found['decision']['reason']}\n")
    print_table([{"variant": variant, **counts} for variant, counts in found["variants"].items()], COUNTS)
    click.echo()
    print_table(list(found["statistical_significance"].values()), COMPARED)


@experiments.command("power")
@click.option(
    "--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), required=True, help="Today's rate, 0 to 1."
)
@click.option("--change", type=float, required=True, help="Difference of the rate that must be found, such as 0.01.")
@click.option("--power", "chance", default=0.8, show_default=True, help="Chance to find it.")
@click.option("--alpha", default=0.05, show_default=True, help="Chance to find one that is not there.")
@click.option("--share", default=0.5, show_default=True, help="Treatment's share of the users.")
@click.option("--per-day", type=float, help="Users a day, for the duration.")
@json_option
def power(
    rate: float, change: float, chance: float, alpha: float, share: float, per_day: float | None, as_json: bool
) -> None:
    """Tell how many users an experiment needs, with and without a planned size."""
    from quadra_matrix.stats import power as sizes

    rows = []
    for design, inflation in (("planned size", sizes.GROUP_SEQUENTIAL), ("no plan", sizes.ANY_TIME)):
        question = sizes.Question(alpha=alpha, power=chance, share=share, inflation=inflation)
        size = sizes.size_for_rates(rate, change, question)
        days = sizes.days_for(size, per_day) if per_day else None
        rows.append({"design": design, "users": size.users, "days": days, "reason": size.reason})
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("design", "users", "days"))


@experiments.command("export")
@click.argument("name")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; standard output without."
)
@options
def export(name: str, output: Path | None, url: str, storage: Path | None, as_json: bool) -> None:
    """Write NAME's definition and results as one JSON document."""
    document = {
        "definition": _ask(url, storage, _path(name)),
        "results": _ask(url, storage, f"{_path(name)}/results"),
    }
    if output is None:
        print_json(document)
        return
    output.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    if as_json:
        print_json({"file": str(output)})


COLUMNS = ("name", "status", "variants", "coverage", "planned_users", "reason")
COUNTS = ("variant", "impressions", "users", "conversions", "conversion_rate", "total_value")
COMPARED = ("variant", "difference", "lift", "z_score", "p_value", "always_valid_p_value", "e_value")


def _ask(url: str, storage: Path | None, path: str, body: object | None = None) -> Any:
    """Ask the service, or the same endpoints over a folder."""
    if storage is None:
        return client.request(f"{url.rstrip('/')}/api{path}", method="GET" if body is None else "POST", body=body)
    from quadra_matrix.experiments.flask import ask
    from quadra_matrix.experiments.framework import ABTestingFramework

    framework = ABTestingFramework(storage)
    try:
        return ask(framework, path, body)
    finally:
        framework.close()


def _path(name: str) -> str:
    """Return the path of an experiment."""
    return f"/experiments/{quote(name, safe='')}"


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print one experiment."""
    if as_json:
        print_json(found)
    else:
        print_table([_line(found)], COLUMNS)


def _line(found: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment as a row of a table."""
    return {**found, "variants": ", ".join(variant["name"] for variant in found["variants"])}
