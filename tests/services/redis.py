"""A real Redis server for tests."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.services.process import accepts, free_port, needs, running


@dataclass(frozen=True)
class Redis:
    """A server that runs, and how to reach it."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextlib.contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[Redis]:
    """Yield a Redis that keeps nothing on disk; give ``port`` to start it again where it was."""
    program = needs("redis-server", "apt-get install redis-server")
    port = port or free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running([*command, "--dir", str(folder)], log=folder / "redis.log", ready=lambda: accepts(port)) as process:
        yield Redis(port, process)
