"""A number that no other living process holds, however its last holder ended."""

from __future__ import annotations

import fcntl
import itertools
import os
from pathlib import Path

from quadra_matrix.errors import require

MOST_SLOTS = 4096
"""Far more than the processes of one service."""


class Slot:
    """The smallest free number in ``folder``, held until ``release`` or the end of the process.

    The kernel drops the lock of a process that ends, also after ``kill -9``. So a restarted process takes the number
    of the one it replaces, and what is kept by number neither piles up nor starts again from nothing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for self.number in itertools.count():
            require(self.number < MOST_SLOTS, "folder", str(folder), f"shared by fewer than {MOST_SLOTS} processes")
            self._file = os.open(folder / f"slot_{self.number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
            else:
                return

    def release(self) -> None:
        """Give the number back. After a fork this lets go of the copy; the parent keeps the number."""
        os.close(self._file)
