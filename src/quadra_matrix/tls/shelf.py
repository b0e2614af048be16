"""What the processes of one machine share about its certificates: files of a folder, and a lock for the leader."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import require
from quadra_matrix.tls.files import PRIVATE, private_folder, write_whole

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,250}")


class Shelf:
    """A ``CertificateStore`` in a folder that only its owner reads. May be shared between threads and processes.

    The lease is a lock of the operating system: it ends when its holder dies, however long it was asked for.
    """

    def __init__(self, folder: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self._folder, self._clock = folder, clock
        self._held: dict[tuple[str, str], int] = {}
        self._guard = threading.Lock()

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the lease of ``name``; False while another holder has it."""
        with self._guard:
            if (name, holder) in self._held:
                return True
            descriptor = os.open(self._place(name, ".lease"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._held[name, holder] = descriptor
            return True

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, if ``holder`` has it."""
        with self._guard:
            descriptor = self._held.pop((name, holder), None)
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked meanwhile holds it open too
                os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        """Return an entry, or None if there is none or its time is over."""
        try:
            head, _, content = self._place(name, ".entry").read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        until = json.loads(head)
        return None if until is not None and until <= self._clock.now() else content

    def write(self, name: str, content: bytes | None, *, until: float | None = None) -> None:
        """Replace an entry whole, or remove it with None; after ``until``, seconds since the epoch, it is gone."""
        place = self._place(name, ".entry")
        if content is None:
            place.unlink(missing_ok=True)
        else:
            self._forget()
            write_whole(place, json.dumps(until).encode() + b"\n" + content, mode=PRIVATE)

    def _forget(self) -> None:
        """Remove what is gone: a leader that died removed no answers."""
        for place in self._folder.glob("*.entry"):
            if self.read(place.stem) is None:
                place.unlink(missing_ok=True)

    def _place(self, name: str, ending: str) -> Path:
        require(_NAME.fullmatch(name) is not None, "name", name, "letters, digits, dots, hyphens and underscores")
        return private_folder(self._folder) / (name + ending)
