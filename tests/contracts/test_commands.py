"""What holds for every command of ``quadra``: fast to start, JSON on request, completed by the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from quadra_matrix.cli import main

QUADRA = Path(sys.executable).with_name("quadra")

NO_DATA = {
    "api spec": "prints a JSON document",
    "config example": "prints a file",
    "serve": "runs until it is stopped",
}
"""Commands without ``--json``, and why."""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


ALL = dict(leaves(main))


@pytest.mark.parametrize("words", ALL)
def test_a_command_that_prints_data_prints_json_on_request(words: str) -> None:
    flags = {flag for option in ALL[words].params for flag in option.opts}

    assert ("--json" in flags) != (words in NO_DATA)


@pytest.mark.parametrize("words", ALL)
def test_a_command_says_what_it_is_for(words: str) -> None:
    assert ALL[words].help


def test_help_loads_no_feature() -> None:
    program = (
        "import sys; from quadra_matrix.cli import main; main(['--help'], standalone_mode=False);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    heavy = {"flask", "pydantic", "sqlalchemy", "numpy", "scipy", "sklearn", "rich", "opentelemetry", "alembic"}
    assert not heavy & set(loaded.splitlines()[-1].split())


@pytest.mark.parametrize(("typed", "expected"), [("quadra conf", "config"), ("quadra config ch", "check")])
def test_the_shell_completes_commands(typed: str, expected: str) -> None:
    asked = {"_QUADRA_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}

    answer = subprocess.run([QUADRA], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60)

    assert f"plain,{expected}" in answer.stdout.splitlines()
