"""The command ``quadra``: a lazy group that loads each feature's commands on use."""

from __future__ import annotations

import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from quadra_matrix import __version__
from quadra_matrix.errors import InvalidSettings, InvalidValue, MissingExtra, QuadraError
from quadra_matrix.terminal import Exit, fail

COMMANDS: dict[str, tuple[str, str]] = {
    "breakers": ("quadra_matrix.breaker.cli:breakers", "List, open, close and reset circuit breakers."),
    "api": ("quadra_matrix.api.cli:api", "Write, check and compare the documents of an API."),
    "audit": ("quadra_matrix.supply.cli:audit", "Scan what is shipped; what was not looked at is never clean."),
    "bluegreen": (
        "quadra_matrix.delivery.cli.bluegreen:bluegreen",
        "Switch all traffic to a new version, and back at once.",
    ),
    "canary": (
        "quadra_matrix.delivery.cli.canary:canary",
        "Give a new version traffic step by step; back if it is worse.",
    ),
    "chaos": ("quadra_matrix.chaos.cli:chaos", "Break something on purpose; mended whatever happens."),
    "certs": ("quadra_matrix.tls.cli:certs", "Make, check and explain certificates."),
    "config": ("quadra_matrix.service.cli:config", "Show and check the options of the ready service."),
    "experiments": ("quadra_matrix.experiments.cli:experiments", "Create, start, stop and read A/B experiments."),
    "health": ("quadra_matrix.service.cli:health", "Ask a running service how it is."),
    "keys": ("quadra_matrix.service.access.cli:keys", "Create, list and revoke the API keys of the service."),
    "db": ("quadra_matrix.service.cli:db", "Bring the database up to date; back it up and restore it."),
    "models": (
        "quadra_matrix.service.models.cli:models",
        "List and show published models; point an alias at a version.",
    ),
    "predict": ("quadra_matrix.service.models.cli:predict", "Ask a model of the running service about rows."),
    "jobs": ("quadra_matrix.service.jobs.cli:jobs", "List, show, follow and cancel training jobs."),
    "serve": ("quadra_matrix.service.jobs.cli:serve", "Run the ready service."),
    "traces": ("quadra_matrix.telemetry.cli:traces", "List the recent traces of a running service and draw one."),
    "train": ("quadra_matrix.service.jobs.cli:train", "Train a model on the running service."),
    "local": ("quadra_matrix.delivery.cli.local:local", "Run versions behind a proxy on this machine."),
}
"""Command name -> (module:attribute, help line). The help line stands here so that ``--help`` imports no feature."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command name, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as missing:
            if missing.name is None or missing.name.startswith("quadra_matrix"):
                raise  # ours to repair, not the user's
            raise MissingExtra(missing.name, "all") from missing
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list from the table, without importing anything."""
        if not COMMANDS:
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name from the table: the user waits for this at every tab."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        if names:
            return [CompletionItem(name, help=COMMANDS[name][1]) for name in names]
        return super().shell_complete(ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one line on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except (InvalidSettings, InvalidValue) as refused:
            raise fail(str(refused), Exit.USAGE) from refused
        except QuadraError as failed:
            raise fail(str(failed)) from failed


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 usage; 3 refused; 4 needs an answer and there is no terminal; "
    '5 state unknown; 6 undecided. Completion: eval "$(_QUADRA_COMPLETE=bash_source quadra)".',
)
@click.version_option(__version__, prog_name="quadra")
def main() -> None:
    """Put a Python web or model service into production, and keep it there."""
