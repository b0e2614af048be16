"""The faults that are in place, on the disk: what the next start takes back when nobody else could.

One file a run, below ``open``. It is written before a fault is put in place and removed after the fault was read back
as gone. A file whose run has ended is a fault that nobody took back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.chaos.undo import Undo, from_document, to_document
from quadra_matrix.errors import TargetBusy
from quadra_matrix.files import replace_file
from quadra_matrix.pids import Process, lives


@dataclass(frozen=True, slots=True)
class Entry:
    """What one run has in place."""

    run: str
    target: str
    injector: Process
    undos: tuple[Undo, ...]
    """In the order of the faults; they are taken back from the last to the first."""


class Journal:
    """The entries below a folder. Several processes may use it at once; an entry has one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, entry: Entry) -> None:
        """Store an entry; it is on the disk when this returns. One without undos is removed."""
        if not entry.undos:
            self._path(entry.run).unlink(missing_ok=True)
            return
        document = {
            "run": entry.run,
            "target": entry.target,
            "injector": [entry.injector.pid, entry.injector.born],
            "undos": [to_document(undo) for undo in entry.undos],
        }
        replace_file(self._path(entry.run), json.dumps(document, indent=1).encode())

    def read(self, run: str) -> Entry | None:
        """Return the entry of a run; None where it has nothing in place."""
        try:
            document = json.loads(self._path(run).read_bytes())
        except FileNotFoundError:
            return None
        pid, born = document["injector"]
        undos = tuple(from_document(undo) for undo in document["undos"])
        return Entry(run, document["target"], Process(pid, born), undos)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, oldest first."""
        for path in sorted(self.folder.glob("open/*.json")):
            entry = self.read(path.stem)
            if entry is not None:
                yield entry

    def abandoned(self) -> Iterator[Entry]:
        """Yield the entries whose run is over."""
        return (entry for entry in self.entries() if not lives(entry.injector))

    @contextmanager
    def locked(self, target: str) -> Iterator[None]:
        """Hold a target for one run. Raises ``TargetBusy``; the kernel frees it when the process ends, however."""
        name = hashlib.sha256(target.encode()).hexdigest()[:16]
        path = self.folder / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as taken:
                raise TargetBusy(target, f"process {os.pread(handle, 32, 0).decode() or 'unknown'}") from taken
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def _path(self, run: str) -> Path:
        return self.folder / "open" / f"{run}.json"


def without(undos: Sequence[Undo], gone: Undo) -> tuple[Undo, ...]:
    """Return the undos but one."""
    return tuple(undo for undo in undos if undo is not gone)
