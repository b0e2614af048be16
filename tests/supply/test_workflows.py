"""The workflows and Dependabot's settings: pinned, without rights they do not need, clean under every linter."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
OURS = [path for path in WORKFLOWS if path.stem in {"ci", "release", "security-scan"}]
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
USES = re.compile(r"^\s*(?:- )?uses:\s*(.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def complaints(*command: str) -> str:
    """Return what a linter says, or nothing."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def by_name(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@by_name(WORKFLOWS)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    loose = [use for use in USES.findall(path.read_text()) if not PINNED.fullmatch(use)]

    assert not loose


@by_name(OURS)
def test_a_workflow_may_do_nothing_that_a_job_does_not_ask_for(path: Path) -> None:
    workflow = loaded(path)

    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())


@by_name(WORKFLOWS)
def test_no_step_hides_that_it_failed(path: Path) -> None:
    text = path.read_text()

    assert "|| true" not in text
    assert "continue-on-error" not in text


@by_name(WORKFLOWS)
def test_jobs_of_pull_requests_see_no_secret(path: Path) -> None:
    workflow = loaded(path)
    triggers = workflow[True]  # YAML 1.1 reads the key `on` so
    assert "pull_request_target" not in triggers
    if "pull_request" not in triggers:
        return

    for job in workflow["jobs"].values():
        if "secrets." in str(job):
            assert "github.event_name != 'pull_request'" in job["if"]


def test_the_scan_runs_daily_and_has_its_jobs() -> None:
    workflow = loaded(ROOT / ".github" / "workflows" / "security-scan.yml")

    assert workflow[True]["schedule"] == [{"cron": "0 2 * * *"}]
    scans = {"dependency-check", "snyk-scan", "trivy-scan", "codeql-analysis", "license-check"}
    assert set(workflow["jobs"]) == scans | {"summary"}
    assert set(workflow["jobs"]["summary"]["needs"]) == scans


def test_updates_come_as_often_as_promised_and_never_fresh() -> None:
    updates = loaded(DEPENDABOT)["updates"]

    how_often = {each["package-ecosystem"]: each["schedule"]["interval"] for each in updates}
    assert how_often == {"pip": "weekly", "docker": "weekly", "github-actions": "monthly"}
    assert all(each["cooldown"] == {"default-days": 7} for each in updates)
    assert all(each["labels"] and each["open-pull-requests-limit"] for each in updates)


SUMMARY = loaded(ROOT / ".github" / "workflows" / "security-scan.yml")["jobs"]["summary"]["steps"][0]


@pytest.mark.parametrize(
    ("job", "result", "green"),
    [
        ("snyk-scan", "skipped", True),
        ("snyk-scan", "failure", False),
        ("trivy-scan", "skipped", False),
        ("license-check", "cancelled", False),
        ("dependency-check", "success", True),
    ],
)
def test_the_summary_is_green_only_if_every_scan_looked(tmp_path: Path, job: str, result: str, green: bool) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is missing")
    needs = f'{{"codeql-analysis": {{"result": "success"}}, "{job}": {{"result": "{result}"}}}}'
    variables = {"NEEDS": needs, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "PATH": "/usr/bin:/bin"}

    done = subprocess.run(["bash", "-e", "-c", SUMMARY["run"]], env=variables, capture_output=True, timeout=60)

    assert (done.returncode == 0) is green
    assert f"| {job} | {result} |" in (tmp_path / "summary.md").read_text()


def test_zizmor_finds_nothing() -> None:
    assert not complaints(program("zizmor"), "--offline", "--pedantic", "--no-progress", ".github")


@pytest.mark.parametrize(
    ("schema", "files"), [("vendor.github-workflows", WORKFLOWS), ("vendor.dependabot", [DEPENDABOT])]
)
def test_the_files_fit_their_schemas(schema: str, files: list[Path]) -> None:
    assert not complaints(program("check-jsonschema"), "--builtin-schema", schema, *map(str, files))


@pytest.mark.slow
def test_actionlint_finds_nothing() -> None:
    installed, go = shutil.which("actionlint"), shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not (installed or go):
        pytest.skip("neither actionlint nor Go, which builds it, is here")
    command = [installed] if installed else [str(go), "run", ACTIONLINT]

    assert not complaints(*command, *map(str, WORKFLOWS))
