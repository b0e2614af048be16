"""A machine with real processes behind a real proxy, driven by the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.delivery.local import LocalWorkload, Machine
from quadra_matrix.errors import DeliveryError
from tests.services.process import free_port, running

SERVER = Path(__file__).with_name("versions.py")
QUADRA = (sys.executable, "-m", "quadra_matrix")
PLAN = """
steps:
  - {share: 20, seconds: 3}
  - {share: 60, seconds: 3}
  - {share: 100, seconds: 2}
baseline: 2
tick: 0.5
patience: 30
ready_within: 10
watch: 1
drain_within: 5
limits: {enough_points: 0.03}
"""


@dataclass
class Local:
    """The machine, and how to command it."""

    folder: Path
    port: int
    supervisor: subprocess.Popen[bytes]

    @property
    def machine(self) -> Machine:
        return Machine(self.folder)

    def words(self, *arguments: str) -> list[str]:
        return [*QUADRA, *arguments, "--state", str(self.folder)]

    def deploy(self, kind: str, version: str, *behaviour: str, options: tuple[str, ...] = ()) -> list[str]:
        plan = self.folder.parent / "plan.yaml"
        plan.write_text(PLAN)
        words = self.words(kind, "deploy", version, "--plan", str(plan), *options)
        return [*words, "--", *command(*behaviour)]

    def run(self, words: list[str], within: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, capture_output=True, text=True, timeout=within, check=False)

    def quadra(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.words(*arguments))

    def shares(self) -> dict[str, float]:
        found: dict[str, Any] = json.loads(self.quadra("canary", "status", "--json").stdout)
        return dict(found["route"])


def command(*behaviour: str) -> tuple[str, ...]:
    return (sys.executable, str(SERVER), "--port", "{port}", "--version", "{version}", *behaviour)


def is_ready(folder: Path, version: str) -> bool:
    try:
        return LocalWorkload(Machine(folder)).ready(version).is_full
    except DeliveryError:
        return False


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """Run ``v1`` behind the proxy, watched by a supervisor; stop everything afterwards."""
    folder, port = tmp_path / "delivery", free_port()
    words = [*QUADRA, "local", "up", "v1", "--state", str(folder), "--port", str(port), "--", *command()]
    try:
        with running(
            words,
            log=tmp_path / "supervisor.log",
            ready=lambda: is_ready(folder, "v1"),
            env={"PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "")},
        ) as supervisor:
            yield Local(folder, port, supervisor)
    finally:
        Machine(folder).down()
