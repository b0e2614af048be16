"""Somebody else's fuzzer reads the document and tries to prove it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.example_app import KEY, make_app
from tests.api.serving import served

EXAMPLES = os.environ.get("QUADRA_TEST_EXAMPLES", "50")
"""Examples for each operation; a long run sets 1000."""


@pytest.mark.slow
@pytest.mark.parametrize("document", ["openapi.json", "openapi-3.1.json"])
def test_no_request_contradicts_the_document(document: str, tmp_path: Path) -> None:
    """All checks, all phases: no undocumented status, no accepted wrong request, no refused right one."""
    app, _ = make_app()
    with served(app) as address:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/api/{document}"),
                *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"),
                *("--max-examples", EXAMPLES, "--header", f"X-Api-Key: {KEY}", "--seed", "1", "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=3000,
        )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "8 selected / 8 total" in done.stdout
