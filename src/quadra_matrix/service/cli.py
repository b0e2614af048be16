"""``quadra config``: what the service would run with, and why."""

from __future__ import annotations

from dataclasses import asdict

import click

from quadra_matrix.errors import InvalidSettings
from quadra_matrix.service.options import describe, example
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import load, sources, unknown_variables
from quadra_matrix.terminal import Exit, json_option, print_json, print_table, remark


@click.group()
def config() -> None:
    """Show and check the options of the ready service."""


@config.command()
@json_option
def check(as_json: bool) -> None:
    """Print every option, its value and where it comes from; secrets are masked.

    Exit code 2 when the service would refuse to start.
    """
    try:
        settings, problems = load(), {}
    except InvalidSettings as refused:
        settings, problems = None, refused.problems
    options = [asdict(option) for option in describe(settings, sources())]
    unknown = unknown_variables()
    if as_json:
        print_json({"valid": not problems, "options": options, "problems": problems, "unknown": unknown})
    else:
        print_table(options, ["variable", "value", "source"])
    for name in unknown:
        remark(f"warning: {name} is set, but no option reads it")
    for variable, rule in problems.items():
        remark(f"error: {variable}: {rule}")
    if problems:
        raise SystemExit(Exit.USAGE)


@config.command("example")
def print_example() -> None:
    """Print a .env file with every option, its description and its default."""
    click.echo(example(), nl=False)


@config.command()
@json_option
def secret(as_json: bool) -> None:
    """Print a new random SECRET_KEY."""
    made = new_secret()
    if as_json:
        print_json({"secret_key": made})
    else:
        click.echo(made)
