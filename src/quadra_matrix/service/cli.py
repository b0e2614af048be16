"""``quadra config`` and ``quadra db``: what an operator does before the service starts.

The group ``db`` stands here and not in ``storage/``, because only the settings know which database it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from quadra_matrix.errors import InvalidSettings
from quadra_matrix.service.backups.cli import backup, list_backups, prune, restore_backup, verify_backup
from quadra_matrix.service.options import describe, example
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import load, sources, unknown_variables
from quadra_matrix.terminal import Exit, can_answer, fail, json_option, print_json, print_table, remark, url_option

if TYPE_CHECKING:
    from quadra_matrix.storage.sql import Database


@click.command()
@url_option
@json_option
def health(url: str, as_json: bool) -> None:
    """Ask a running service how it is. Exit code 0 when it answers requests as it should, 1 otherwise."""
    from quadra_matrix.client import request
    from quadra_matrix.errors import ServiceError

    try:
        report, answers = request(f"{url}/health/ready", timeout=HEALTH_WITHIN), True
    except ServiceError as failed:
        report, answers = failed.problem, False
    if as_json:
        print_json(report)
    else:
        checks = report.get("checks", {})
        print_table([{"check": name, **found} for name, found in checks.items()], ["check", "state", "detail"])
    if not answers:
        raise SystemExit(Exit.FAILED)


HEALTH_WITHIN = 4.0
"""Seconds that a service may take to say how it is: less than a container engine waits for this command."""


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


@click.group()
def db() -> None:
    """Bring the database up to date and check that it is; back it up and restore it."""


@db.command("upgrade")
@json_option
def upgrade_tables(as_json: bool) -> None:
    """Bring the tables to the newest revision; safe to run from several machines at once."""
    from quadra_matrix.storage.migrations import upgrade

    with _database() as database:
        done = upgrade(database)
    if as_json:
        print_json(asdict(done))
    elif done.applied:
        click.echo(f"upgraded from {done.before or 'an empty database'} to {done.after}")
    else:
        click.echo(f"already at {done.after}")


@db.command("downgrade")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def downgrade_tables(revision: str, yes: bool, as_json: bool) -> None:
    """Take the tables back to an older REVISION; what came after it is dropped with its rows. Make a backup first.

    The previous release runs on newer tables, so rolling back a release does not need this.
    """
    from quadra_matrix.storage.migrations import downgrade

    if not yes:
        if not can_answer():
            raise fail("this drops tables; say so with --yes", Exit.NEEDS_ANSWER)
        click.confirm("Drop the tables that came later, with their rows?", abort=True)
    with _database() as database:
        done = downgrade(database, revision)
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"went back from {done.before} to {done.after}")


@db.command()
@json_option
def current(as_json: bool) -> None:
    """Print the revision of the database and the newest one."""
    from quadra_matrix.storage import migrations

    with _database() as database:
        row = {"database": database.dialect, "revision": migrations.current(database), "newest": migrations.head()}
    if as_json:
        print_json(row)
    else:
        print_table([row], list(row))


@db.command("check")
@json_option
def check_tables(as_json: bool) -> None:
    """Compare the tables with what this version defines. Exit code 1 when they differ."""
    from quadra_matrix.storage.migrations import drift

    with _database() as database:
        differences = drift(database)
    if as_json:
        print_json({"up_to_date": not differences, "differences": differences})
    elif not differences:
        click.echo("the tables are what this version defines")
    for difference in differences:
        remark(difference)
    if differences:
        raise SystemExit(Exit.FAILED)


for _command in (backup, list_backups, verify_backup, restore_backup, prune):
    db.add_command(_command)


@contextmanager
def _database() -> Iterator[Database]:
    from quadra_matrix.storage.sql import Database

    database = Database(load().database_url)
    try:
        yield database
    finally:
        database.close()
