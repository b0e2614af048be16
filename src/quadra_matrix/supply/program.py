"""Run a scanner that is a program of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from quadra_matrix.errors import ScannerFailed

LONGEST = 600.0
"""Seconds a scanner may take."""


def find(name: str) -> str | None:
    """Return the program beside this Python or on the path, or None."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def run_json(name: str, arguments: Sequence[str], folder: Path, answers: Collection[int]) -> Any:
    """Return the JSON that the program prints.

    ``answers`` are the exit codes with which it answers at all. Every other one, silence and text that is no JSON are a
    ``ScannerFailed``: an empty report is what a scanner that crashed leaves behind.
    """
    program = find(name)
    if program is None:
        raise ScannerFailed(name, "it is not installed")
    try:
        done = subprocess.run(  # noqa: S603  the program is one of ours, its arguments are no text of others
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise ScannerFailed(name, str(failed)) from failed
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode not in answers:
        raise ScannerFailed(name, f"it ended with {done.returncode}: {last}")
    try:
        return json.loads(done.stdout)
    except ValueError as broken:
        raise ScannerFailed(name, f"it ended with {done.returncode} and without a report: {last}") from broken
