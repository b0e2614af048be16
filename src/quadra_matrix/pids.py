"""A process of this machine, recognisable after its number was given to another one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process by its number and its birth."""

    pid: int
    born: int
    """Clock ticks from the start of the machine to its own, as the kernel counts them."""


def this_process() -> Process:
    """Return the process that asks."""
    return process_of(os.getpid()) or Process(os.getpid(), 0)


def process_of(pid: int) -> Process | None:
    """Return a running process by its number; None for one that ended, also while nobody has reaped it."""
    found = _state_and_birth(pid)
    return None if found is None or found[0] in "ZX" else Process(pid, found[1])


def lives(process: Process) -> bool:
    """Tell whether it is still this process that runs under its number."""
    return process_of(process.pid) == process


def is_stopped(process: Process) -> bool:
    """Tell whether the process was halted by a signal and waits for another one."""
    return _state_and_birth(process.pid) == ("T", process.born)


def _state_and_birth(pid: int) -> tuple[str, int] | None:
    """Return the letter of a process's state and when it was started."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold anything
    return state, int(rest[18])
