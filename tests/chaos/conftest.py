"""Services to harm, and experiments short enough for a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quadra_matrix.chaos.model import Probing
from quadra_matrix.chaos.recovery import Margins
from tests.services.process import accepts, free_port, running

ROOT = Path(__file__).parents[2]
QUICK = Probing(rate=100.0, timeout=2.0, samples=200)
"""Enough to judge in seconds."""
PATIENT = Margins(slack=0.1)
"""The machine is shared: tens of milliseconds more are its doing."""


@dataclass(frozen=True)
class Service:
    """A service of ours that runs."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/health"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that nobody else harms."""
    port = free_port()
    command = [sys.executable, "-m", "tests.chaos.target", str(port)]
    with running(command, log=tmp_path / "service.log", ready=lambda: accepts(port), cwd=ROOT) as process:
        yield Service(port, process.pid)
