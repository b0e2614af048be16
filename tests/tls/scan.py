"""sslyze, in an environment of its own: it holds the version of cryptography back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SSLYZE = [
    sys.executable, "-m", "uv", "run", "--quiet", "--frozen", "--isolated", "--only-group", "scan", "sslyze",
]  # fmt: skip


def scan(port: int, roots: Path) -> tuple[int, str]:
    """Return sslyze's exit code against Mozilla's intermediate profile, and what it says of compliance."""
    installed = subprocess.run([*SSLYZE, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    if installed.returncode:
        reason = f"sslyze cannot be installed: {installed.stderr.strip()[-300:]}"
        if os.environ.get("QUADRA_TEST_NO_SKIP"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [*SSLYZE, "--mozilla_config=intermediate", "--certinfo_ca_file", str(roots), f"localhost:{port}"]
    scanned = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    return scanned.returncode, scanned.stdout.partition("COMPLIANCE AGAINST")[2]
