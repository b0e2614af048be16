"""Processes that outlive the one that started them: start, recognise again, stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from quadra_matrix.clock import Clock
from quadra_matrix.pids import Process, lives, process_of


class Processes:
    """Starts processes in sessions of their own, and stops only what it recognises. Not for several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> Process:
        """Start a program with its output at the end of ``log``. Raises ``OSError`` when it cannot be started."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603  the command is the user's own
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                start_new_session=True,
            )
        self._children[child.pid] = child
        return process_of(child.pid) or Process(child.pid, 0)

    def lives(self, process: Process) -> bool:
        """Tell whether the process still runs. A child that ended is reaped on the way."""
        child = self._children.get(process.pid)
        if child is not None and child.poll() is not None:
            del self._children[process.pid]
        return lives(process)

    def stop(self, process: Process, within: float = 10.0) -> None:
        """Ask a process and its children to end, and end them after ``within`` seconds."""
        for request, patience in ((signal.SIGTERM, within), (signal.SIGKILL, 5.0)):
            if not self.lives(process):
                return
            with suppress(ProcessLookupError):
                os.killpg(process.pid, request)
            deadline = self._clock.monotonic() + patience
            while self.lives(process) and self._clock.monotonic() < deadline:
                self._clock.sleep(0.02)


def free_port(preferred: int = 0) -> int:
    """Return a loopback port that nothing listens on: the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            free: int = probe.getsockname()[1]
            return free
    raise OSError("the machine has no free port")


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be listened on."""
    return free_port(port) == port
