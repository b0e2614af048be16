"""Both type checkers see the types that users see, and find the mistakes that users make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = HERE / "breaker_api.py"


@pytest.mark.slow
def test_mypy_agrees(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--warn-unused-ignores",
        "--cache-dir",
        str(tmp_path),
        str(PAGE),
    ]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_pyright_agrees(tmp_path: Path) -> None:
    settings = {
        "include": [str(PAGE)],
        "extraPaths": [str(ROOT / "src"), str(ROOT)],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable]

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert checked.returncode == 0, checked.stdout
