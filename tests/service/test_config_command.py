"""``quadra config``: complete, masked, and its exit code means something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.cli import main
from quadra_matrix.service.options import MASK, example, mask_address
from quadra_matrix.service.secret import weakness
from quadra_matrix.service.settings import Settings

ROOT = Path(__file__).parents[2]


def test_check_prints_every_option_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_WORKERS", "7")

    ran = CliRunner().invoke(main, ["config", "check", "--json"])

    answer = json.loads(ran.stdout)
    found = {option["name"]: option for option in answer["options"]}
    assert (ran.exit_code, answer["valid"]) == (0, True)
    assert list(found) == list(Settings.model_fields)
    assert (found["workers"]["value"], found["workers"]["source"]) == ("7", "environment")
    assert found["port"]["source"] == "default"


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize("environment", ["development", "production"])
def test_check_shows_no_secret(arguments: list[str], environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_ENVIRONMENT", environment)
    monkeypatch.setenv("SECRET_KEY", "hunter2-and-too-short")
    monkeypatch.setenv("QUADRA_DATABASE_URL", "postgresql://me:hunter2@host/name?password=hunter2")
    monkeypatch.setenv("QUADRA_REDIS_URL", "redis://:hunter2@host:6379/0")
    monkeypatch.setenv("QUADRA_API_PASSWORD", "hunter2")

    ran = CliRunner().invoke(main, ["config", "check", *arguments])

    assert "hunter2" not in ran.output
    assert f"postgresql://me:{MASK}@host/name?password={MASK}" in ran.stdout
    assert "SECRET_KEY" in ran.stdout


def test_check_of_a_refused_option_still_prints_all_and_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_PORT", "http")

    ran = CliRunner().invoke(main, ["config", "check"])

    assert ran.exit_code == 2
    assert "error: QUADRA_PORT: Input should be a valid integer" in ran.stderr
    assert "http " in ran.stdout
    assert "QUADRA_LOG_LEVEL" in ran.stdout


def test_check_warns_of_a_variable_that_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_PROT", "1")

    ran = CliRunner().invoke(main, ["config", "check", "--json"])

    assert json.loads(ran.stdout)["unknown"] == ["QUADRA_PROT"]
    assert "QUADRA_PROT" in ran.stderr


def test_the_secret_it_makes_is_strong() -> None:
    ran = CliRunner().invoke(main, ["config", "secret"])

    assert weakness(ran.stdout.strip()) is None


def test_env_example_is_what_the_settings_say() -> None:
    """Repair with: .venv/bin/quadra config example > .env.example."""
    ran = CliRunner().invoke(main, ["config", "example"])

    assert ran.stdout == (ROOT / ".env.example").read_text()


def test_env_example_can_be_used_with_every_line_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    active = [line.removeprefix("#") for line in example().splitlines() if line.startswith("#QUADRA_")]
    (tmp_path / ".env").write_text("\n".join(active))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    defaults = Settings()

    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")

    assert len(active) == len(Settings.model_fields)
    assert Settings() == defaults


@given(st.text(min_size=3).filter(lambda word: word not in f"postgresql://user:{MASK}@host/name"))
@case("p@ss/w?rd#1")
def test_no_part_of_a_password_survives(password: str) -> None:
    assert mask_address(f"postgresql://user:{password}@host/name") == f"postgresql://user:{MASK}@host/name"


@pytest.mark.parametrize("address", ["sqlite:////var/lib/quadra.db", "redis://host:6379/0", "postgresql://me@host/db"])
def test_an_address_without_a_secret_is_shown_as_it_is(address: str) -> None:
    assert mask_address(address) == address
