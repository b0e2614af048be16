"""The commands ``quadra predict`` and ``quadra models``; both ask a running service."""

from __future__ import annotations

import json
from typing import Any, TextIO
from urllib.parse import quote

import click

from quadra_matrix.client import request
from quadra_matrix.terminal import Exit, fail, json_option, print_json, print_table, remark, url_option


@click.command()
@click.argument("rows", required=False)
@click.option("--file", type=click.File(), help="Read the rows from a JSON file; - is standard input.")
@click.option("--model", help="Model to ask; the service's default when not given.")
@click.option("--version", type=click.IntRange(min=1), help="Ask this version.")
@click.option("--alias", help="Ask the version that this name points at; production when not given.")
@url_option
@json_option
def predict(
    rows: str | None,
    file: TextIO | None,
    model: str | None,
    version: int | None,
    alias: str | None,
    url: str,
    as_json: bool,
) -> None:
    """Ask a model of the running service about rows.

    ROWS is a JSON list of lists in the order of the model's features, or of records by their names.

    Example: quadra predict '[[5.1, 3.5, 1.4, 0.2]]' --model iris
    """
    if (rows is None) == (file is None):
        raise click.UsageError("give the rows as an argument or as --file")
    asked = {"model": model, "version": version, "alias": alias, "rows": _json(file.read() if file else rows or "")}
    answer = request(
        f"{url}/api/predict",
        method="POST",
        body={name: value for name, value in asked.items() if value is not None},
    )
    if as_json:
        print_json(answer)
        return
    remark(f"{answer['model']} version {answer['version']}")
    print_table(_lines(answer), ["prediction", *(str(label) for label in answer["classes"])])


@click.group()
def models() -> None:
    """List and show published models; point an alias at a version."""


@models.command("list")
@url_option
@json_option
def list_models(url: str, as_json: bool) -> None:
    """List every model with its versions and aliases."""
    found = request(f"{url}/api/models")
    if as_json:
        print_json(found)
        return
    rows = [
        {"model": model["name"], "versions": len(model["versions"]), "aliases": _names(model["aliases"])}
        for model in found["models"]
    ]
    print_table(rows, ["model", "versions", "aliases"])


@models.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1), required=False)
@url_option
@json_option
def show(model: str, version: int | None, url: str, as_json: bool) -> None:
    """Show MODEL and its versions, or all that is known of one VERSION."""
    address = f"{url}/api/models/{quote(model, safe='')}"
    found = request(address if version is None else f"{address}/versions/{version}")
    if as_json:
        print_json(found)
    elif version is None:
        print_table([_summary(record) for record in found["records"]], list(SUMMARY))
    else:
        print_table(
            [{"field": name, "value": _short(value)} for name, value in found.items()],
            ["field", "value"],
        )


@models.command()
@click.argument("model")
@click.argument("alias")
@click.argument("version", type=click.IntRange(min=1))
@url_option
@json_option
def alias(model: str, alias: str, version: int, url: str, as_json: bool) -> None:
    """Point ALIAS of MODEL at VERSION: quadra models alias iris production 2."""
    address = f"{url}/api/models/{quote(model, safe='')}/aliases/{quote(alias, safe='')}"
    moved = request(address, method="PUT", body={"version": version})
    if as_json:
        print_json(moved)
    else:
        remark(f"{moved['alias']} of {moved['model']} is version {moved['version']}")


SUMMARY = ("version", "aliases", "estimator", "engine", "score", "created")


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    """Return the line of one version; its score is the accuracy or R2 on the held-out rows."""
    metrics = record["metrics"]
    score = metrics.get("accuracy", metrics.get("r2"))
    return {**record, "aliases": ", ".join(record["aliases"]), "score": score}


def _lines(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each row: the prediction, and for labels their probabilities."""
    names = [str(label) for label in answer["classes"]]
    scores = answer["probabilities"] or [()] * len(answer["predictions"])
    return [
        {"prediction": str(best), **dict(zip(names, line, strict=False))}
        for best, line in zip(answer["predictions"], scores, strict=True)
    ]


def _names(aliases: dict[str, int]) -> str:
    return ", ".join(f"{name}={version}" for name, version in aliases.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json(text: str) -> Any:
    """Return the value of a JSON text; what is no JSON ends the command with the place of the mistake."""
    try:
        return json.loads(text)
    except ValueError as wrong:
        raise fail(f"the rows are not JSON: {wrong}", Exit.USAGE) from wrong
