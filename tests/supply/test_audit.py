"""``quadra audit`` as people run it: red, undecided or clean, with real scanners."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply.cli import audit

ROOT = Path(__file__).parents[2]
GIT = shutil.which("git") or "git"
WORKFLOW = """name: ci
on:
  push:
permissions: {}
concurrency:
  group: ci
  cancel-in-progress: true
jobs:
  test:
    name: Test
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - run: make test
"""


@pytest.fixture
def advisories(tmp_path: Path) -> Path:
    """A snapshot of today with one flaw: every jinja2 below 3.1.6."""
    folder = tmp_path / "advisories"
    folder.mkdir()
    events = [{"introduced": "0"}, {"fixed": "3.1.6"}]
    flaw = {
        "id": "GHSA-cpwx-vrp4-4pq7",
        "modified": dt.datetime.now(dt.UTC).isoformat(),
        "database_specific": {"severity": "MODERATE"},
        "affected": [
            {"package": {"ecosystem": "PyPI", "name": "jinja2"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        ],
    }
    (folder / "flaw.json").write_text(json.dumps(flaw))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has nothing to hide."""
    folder = tmp_path / "project"
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "ci.yml").write_text(WORKFLOW)
    (folder / "requirements.txt").write_text("flask==3.1.3\n")
    (folder / "app.py").write_text("answer = 42\n")
    (folder / "audit.toml").write_text("")
    subprocess.run([GIT, "init", "--quiet"], cwd=folder, check=True)
    return folder


def run(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(folder), *map(str, arguments)])


def report(result: Result) -> Any:
    return json.loads(result.stdout)


def only(check: str) -> tuple[str, ...]:
    return ("--json", "--only", check)


def test_a_project_with_nothing_to_hide_is_clean(project: Path, advisories: Path) -> None:
    result = run(project, "--advisories", advisories)

    assert (result.exit_code, result.stdout.splitlines()[-1].split(":")[0]) == (0, "clean")


def test_a_vulnerable_pin_is_red(project: Path, advisories: Path) -> None:
    (project / "requirements.txt").write_text("jinja2==3.1.5\n")

    result = run(project, *only("advisories"), "--advisories", advisories)

    assert result.exit_code == 1
    assert [(each["rule"], each["fixed_in"]) for each in report(result)["blocking"]] == [
        ("GHSA-cpwx-vrp4-4pq7", "3.1.6")
    ]


@pytest.mark.parametrize(("until", "code"), [("2999-12-31", 0), ("2020-01-01", 1)])
def test_a_waiver_holds_until_it_expires(project: Path, advisories: Path, until: str, code: int) -> None:
    (project / "requirements.txt").write_text("jinja2==3.1.5\n")
    (project / "audit.toml").write_text(
        f'[[waivers]]\nrule = "GHSA-cpwx-vrp4-4pq7"\nsubject = "jinja2"\nreason = "no sandbox"\nuntil = {until}\n'
    )

    assert run(project, *only("advisories"), "--advisories", advisories).exit_code == code


def test_without_a_source_of_advisories_nothing_is_clean(project: Path, tmp_path: Path) -> None:
    result = run(project, *only("advisories"), "--advisories", tmp_path / "nothing")

    assert (result.exit_code, report(result)["outcome"]) == (6, "inconclusive")


def test_a_scanner_that_crashes_is_not_clean(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.ruff]\nline-length = 'wide'\n")

    result = run(project, *only("code"))

    assert (result.exit_code, report(result)["scans"][0]["findings"]) == (6, 0)


def test_a_scanner_that_has_nothing_to_look_at_is_not_clean(project: Path) -> None:
    (project / ".github" / "workflows" / "ci.yml").unlink()

    assert run(project, *only("workflows")).exit_code == 6


def test_a_secret_is_red_and_is_not_shown(project: Path) -> None:
    secret = "AKIA" + "2E0A8F3B244C9986"
    (project / "settings.py").write_text(f'key = "{secret}"\n')

    result = run(project, *only("secrets"))

    assert result.exit_code == 1
    assert {each["subject"] for each in report(result)["blocking"]} == {"settings.py"}
    assert secret not in result.output


def test_an_unsafe_call_is_red(project: Path) -> None:
    (project / "app.py").write_text("import subprocess\n\nsubprocess.run('ls', shell=True)\n")

    assert "S602" in {each["rule"] for each in report(run(project, *only("code")))["blocking"]}


def test_an_unpinned_action_is_red(project: Path) -> None:
    path = project / ".github" / "workflows" / "ci.yml"
    path.write_text(
        WORKFLOW + "      - uses: actions/checkout@v4\n        with:\n          persist-credentials: false\n"
    )

    result = run(project, *only("workflows"))

    assert result.exit_code == 1
    assert "unpinned-uses" in {each["rule"] for each in report(result)["blocking"]}


def test_a_copyleft_licence_is_red(project: Path) -> None:
    (project / "audit.toml").write_text('[licences]\nstated = { flask = "GPL-3.0-only" }\n')

    assert report(run(project, *only("licences")))["blocking"][0]["rule"] == "GPL-3.0-only"


def test_reports_are_written_for_code_scanning_people_and_inventories(project: Path, tmp_path: Path) -> None:
    (project / "app.py").write_text("import subprocess\n\nsubprocess.run('ls', shell=True)\n")
    files = {kind: tmp_path / f"report.{kind}" for kind in ("sarif", "markdown", "sbom")}

    run(project, *only("code"), *(word for kind, file in files.items() for word in (f"--{kind}", file)))

    (told,) = json.loads(files["sarif"].read_text())["runs"]
    assert {each["ruleId"] for each in told["results"]} >= {"ruff/S602"}
    assert "| S602 |" in files["markdown"].read_text()
    assert json.loads(files["sbom"].read_text())["components"][0]["purl"] == "pkg:pypi/flask@3.1.3"


def test_a_bill_of_materials_is_valid_cyclonedx(project: Path, tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    run(project, *only("licences"), "--sbom", tmp_path / "sbom.json")

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((tmp_path / "sbom.json").read_text()) is None


def test_a_bill_of_materials_that_cannot_be_written_fails(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("flask\n")

    result = run(project, *only("code"), "--sbom", tmp_path / "sbom.json")

    assert isinstance(result.exception, ScannerFailed)
    assert not (tmp_path / "sbom.json").exists()


@pytest.mark.parametrize("check", ["advisories", "code", "licences", "workflows"])
def test_this_project_is_clean(check: str, advisories: Path) -> None:
    result = run(ROOT, *only(check), "--advisories", advisories)

    assert report(result)["outcome"] == "clean", result.output


@pytest.mark.slow
def test_this_project_holds_no_secret() -> None:
    result = run(ROOT, *only("secrets"))

    assert report(result)["outcome"] == "clean", result.output
