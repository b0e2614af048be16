"""Child processes of the service: how they start, how they end, and that they never outlive their parent."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.service.settings import Settings

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: which signal this process gets when the thread that started it ends."""

NOTHING_ELSE: Mapping[str, str] = {}


def start(
    module: str,
    *arguments: str,
    settings: Settings,
    environment: Mapping[str, str] = NOTHING_ELSE,
    output: IO[bytes] | None = None,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` in a session of its own, with ``settings`` and ``environment`` in its environment.

    Call it from a thread that lives as long as the child may: the kernel ends the child with that thread. ``keep``
    are file descriptors that the child inherits.
    """
    return subprocess.Popen(  # noqa: S603  the interpreter that runs us, and our own modules
        [sys.executable, "-m", module, str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        env={**environment, **settings.child_environment()},  # what the operator set wins
        start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops its children in order
        pass_fds=tuple(keep),
    )


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when process ``parent`` does, however that ends; end at once if it has.

    Linux only; elsewhere a process whose parent was killed ends when it finds its lease gone.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, has ended")


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether the process ended; if so end what it left in its session, then collect it.

    In this order: until it is collected its number cannot belong to anybody else.
    """
    if process.returncode is not None:
        return True
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return False
    send(process, signal.SIGKILL)
    process.wait()
    return True


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to an uncollected child and everything in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(process.pid, number)


def ending(code: int) -> str:
    """Return in words how a process with this return code ended."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by signal {-code} ({signal.Signals(-code).name})"


@contextlib.contextmanager
def exclusive(path: Path, *, within: float = 0.0, clock: Clock = SYSTEM_CLOCK) -> Iterator[int | None]:
    """Yield the descriptor of a lock file that is ours alone, or None when somebody holds it for ``within`` seconds.

    The lock belongs to the open file: a child that inherits the descriptor keeps it, so whoever gets the lock knows
    that the last holder and all its children are gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = clock.monotonic() + within
        while not (locked := _locked(descriptor)) and clock.monotonic() < deadline:
            clock.sleep(0.05)
        yield descriptor if locked else None
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock the open file unless somebody holds it, and tell whether it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
