"""Files that only their owner reads, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from quadra_matrix.errors import CertificateRefused

PRIVATE, PUBLIC = 0o600, 0o644


def private_folder(folder: Path) -> Path:
    """Return ``folder``, made with mode 0700 if it was missing.

    A folder that was there keeps its mode, but one that others may write is refused: they could swap the key.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        raise CertificateRefused(folder, "others may write to the folder; run chmod 700 on it")
    return folder


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Put ``content`` at ``path``: readers see the old file or the new one, never a part, never a wider mode."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def link_whole(path: Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target`` in one step, whatever it was before."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.symlink_to(target)
    temporary.replace(path)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``: the workers of one server may all start at the same moment."""
    with (folder / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
