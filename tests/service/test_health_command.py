"""``quadra health`` is what a container engine asks: its exit code is the answer."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from quadra_matrix.cli import main
from quadra_matrix.service.app import create_app
from tests.api.serving import served
from tests.service.wired import settings_with_iris
from tests.services.process import free_port


def test_a_service_that_answers_is_well_until_it_stops(tmp_path: Path) -> None:
    settings = settings_with_iris(tmp_path)
    with served(create_app(settings)) as address:
        well = CliRunner().invoke(main, ["health", "--url", address, "--json"])
        settings.stopping_file.parent.mkdir(exist_ok=True)
        settings.stopping_file.touch()
        stopping = CliRunner().invoke(main, ["health", "--url", address])

    assert (well.exit_code, json.loads(well.stdout)["checks"]["database"]["state"]) == (0, "ok")
    assert stopping.exit_code == 1
    assert "the service stops" in stopping.stdout


def test_a_service_that_is_not_there_is_not_well() -> None:
    ran = CliRunner().invoke(main, ["health", "--url", f"http://127.0.0.1:{free_port()}"])

    assert ran.exit_code == 1
    assert "no service answers" in ran.stderr
