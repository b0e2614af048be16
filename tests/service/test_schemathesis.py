"""Somebody else's fuzzer reads the service's document and tries to prove it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quadra_matrix.service.app import create_app
from tests.api.serving import served
from tests.service.wired import settings_with_iris

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("QUADRA_TEST_EXAMPLES", "50")
"""Examples for each operation; a long run sets 1000."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "phases"),
    [("openapi.json", "examples,coverage,fuzzing,stateful"), ("openapi-3.1.json", "examples,coverage")],
)
def test_no_request_contradicts_the_document(document: str, phases: str, tmp_path: Path) -> None:
    """All checks: no undocumented status or answer, no accepted wrong request, no refused right one."""
    app = create_app(settings_with_iris(tmp_path / "service"))
    paths = app.test_client().get(f"/api/{document}").get_json()["paths"]
    operations = sum(map(len, paths.values()))
    with served(app) as address:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", ROOT / "tests/service/fuzzing.toml"),
                *("run", f"{address}/api/{document}", "--checks", "all", "--phases", phases),
                *("--max-examples", EXAMPLES, "--seed", "1", "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=3000,
        )

    assert done.returncode == 0, failures(done.stdout) + done.stderr[-2000:]
    assert f"{operations} selected / {operations} total" in done.stdout


def failures(report: str) -> str:
    """Return what the fuzzer found, lines of a readable length."""
    found = report.partition("= FAILURES =")[2].partition("= WARNINGS =")[0] or report
    return "\n".join(line[:500] for line in found.splitlines())[:20_000]
