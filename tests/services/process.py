"""Start a real server for a test on a free loopback port, wait until it answers, stop it afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

READY_WITHIN = 60.0
"""Seconds a server may take to answer; the machines are busy."""


def needs(program: str, install: str) -> str:
    """Return the program's path; without it skip, or fail where skipping is not allowed (CI)."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found:
        return found
    reason = f"{program} is missing; install it with: {install}"
    if os.environ.get("QUADRA_TEST_NO_SKIP"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Tell whether something accepts connections on the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(holds: Callable[[], bool], what: str, within: float = READY_WITHIN) -> None:
    """Return once ``holds`` is true; fail with ``what`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within:g} s for {what}")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes], within: float = 15.0) -> None:
    """Ask the process to end, then make it; only ever the process that was started here."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(within)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the started process once ``ready`` holds; a process that ends early fails with its log."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    try:

        def answered_or_ended() -> bool:
            if process.poll() is not None:
                pytest.fail(f"{command[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
            return ready()

        wait_until(answered_or_ended, f"{command[0]} to answer")
        yield process
    finally:
        stop(process)
