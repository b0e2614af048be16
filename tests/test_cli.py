"""The command ``quadra`` itself: its list, and errors as one line with an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from quadra_matrix import __version__
from quadra_matrix.cli import COMMANDS, main
from tests.services.process import free_port


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_help_lists_every_command_with_its_line() -> None:
    shown = run("--help")

    assert shown.exit_code == 0
    assert all(name in shown.stdout and text[:30] in shown.stdout for name, (_, text) in COMMANDS.items())


def test_help_documents_the_exit_codes_and_completion() -> None:
    shown = " ".join(run("--help").stdout.split())

    assert "Exit codes: 0 done; 1 failed; 2 usage; 3 refused" in shown
    assert "_QUADRA_COMPLETE=bash_source" in shown


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout.split()[-1] == __version__


def test_an_unknown_command_is_a_usage_error() -> None:
    asked = run("frobnicate")

    assert (asked.exit_code, "No such command 'frobnicate'" in asked.stderr) == (2, True)


def test_a_refused_option_is_one_line_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_PORT", "0")

    asked = run("db", "current")

    assert (asked.exit_code, asked.stdout) == (2, "")
    assert asked.stderr.startswith("error: QUADRA_PORT: ")
    assert asked.stderr.count("\n") == 1


def test_a_failure_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{free_port()}/name")

    asked = run("db", "current")

    assert (asked.exit_code, asked.stdout) == (1, "")
    assert asked.stderr.startswith("error: the database is not available: ")
    assert (asked.stderr.count("\n"), "hunter2" in asked.stderr) == (1, False)


def test_a_command_whose_extra_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "odd", ("no_such_package.cli:odd", "Need something."))

    asked = run("odd")

    assert asked.exit_code == 1
    assert "no_such_package" in asked.stderr
    assert "pip install 'quadra-matrix[all]'" in asked.stderr


def test_a_missing_module_of_ours_is_not_called_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "odd", ("quadra_matrix.gone.cli:odd", "Need something."))

    assert isinstance(run("odd").exception, ModuleNotFoundError)


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "quadra_matrix", "--version"], capture_output=True, text=True)

    assert ran.stdout == f"quadra, version {__version__}\n"
