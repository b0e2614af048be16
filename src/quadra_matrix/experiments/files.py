"""The embedded store: every version of every experiment in one file, and the event log beside it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import ExperimentConflict
from quadra_matrix.experiments.definition import Definition
from quadra_matrix.experiments.ports import Changes
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.wire import from_json, to_json

if TYPE_CHECKING:
    from quadra_matrix.experiments.warehouse import DuckDBWarehouse


class FileStore:
    """A ``Store`` below a folder. Any number of processes may use it; within one, any number of threads."""

    def __init__(self, folder: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._clock = folder, clock
        self._file = folder / "experiments.jsonl"

    def changes(self, after: int) -> Changes:
        """Return the versions recorded behind a position; 0 asks for all."""
        try:
            if self._file.stat().st_size == after:
                return Changes(after, ())
            with self._file.open("rb") as opened:
                opened.seek(after)
                text = opened.read()
        except FileNotFoundError:
            return Changes(0, ())
        whole = text[: text.rfind(b"\n") + 1]  # a line that is being written has no end yet
        return Changes(after + len(whole), [from_json(json.loads(line)) for line in whole.splitlines()])

    def record(self, definition: Definition) -> None:
        """Keep a version for ever; raise ``ExperimentConflict`` unless it follows the last one of its experiment."""
        line = json.dumps(to_json(definition), allow_nan=False).encode() + b"\n"
        file = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            seen = self.changes(0)
            last = max((known.version for known in seen.definitions if known.name == definition.name), default=0)
            if definition.version != last + 1:
                raise ExperimentConflict(definition.name, last)
            os.ftruncate(file, seen.position)  # drop the torn line of a process that died here
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))
            os.fsync(file)
        finally:
            os.close(file)

    def sink(self) -> SegmentFolder:
        """Return the event log's files."""
        return SegmentFolder(self._folder, clock=self._clock)

    def warehouse(self) -> DuckDBWarehouse:
        """Return the place where the aggregate runs."""
        from quadra_matrix.experiments.warehouse import DuckDBWarehouse

        return DuckDBWarehouse.of_log(self._folder)
