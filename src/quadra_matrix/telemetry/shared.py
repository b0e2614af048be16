"""Numbers in files of one folder, mapped into memory: every process adds to its own and reads those of the others.

prometheus_client's own multi-process mode is chosen by a variable of the environment before its first import, and names
its files by process id, so that they pile up with every restart. This writes the same format by slot: a restarted
worker goes on where its predecessor stopped. What was added is there for the others at once, also after ``kill -9``.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from quadra_matrix.telemetry.slot import Slot

log = logging.getLogger(__name__)

KINDS = {"counter": "db", "histogram": "db", "exemplar": "marks"}
"""Kind of number to the ending of its files; prometheus_client reads those that end with ``.db``."""
SMALLEST = 64 * 1024
"""Bytes of a new file: a few hundred series."""
_COUNT, _PAIR = struct.Struct("i"), struct.Struct("dd")
_HEAD = 8
"""Bytes before the first entry: how many are used, and padding."""


class NumberFile:
    """Doubles by key in one mapped file. Whoever writes holds a lock; readers in other processes need none.

    The layout is that of prometheus_client: how many bytes are in use; then for each key its length, the key in UTF-8
    and spaces up to a multiple of eight bytes, and two doubles; of a counter the second is not used.
    """

    numbers: memoryview[float]
    """The whole file as doubles. A new view after each growth."""

    def __init__(self, path: Path) -> None:
        unready = path if path.exists() else path.with_suffix(".new")  # nobody reads a file before its head is written
        self._file = os.open(unready, os.O_RDWR | os.O_CREAT, 0o600)
        self._map(max(SMALLEST, os.fstat(self._file).st_size))
        self._used = max(_HEAD, *_COUNT.unpack_from(self._memory))
        self._memory[: _COUNT.size] = _COUNT.pack(self._used)
        unready.rename(path)
        self._places = dict(self._entries())

    def place(self, key: str) -> int:
        """Return the index of the number of ``key`` in ``numbers``; a new key begins at 0.0."""
        found = self._places.get(key)
        return self._append(key) if found is None else found

    def keys(self) -> tuple[str, ...]:
        """Return the key of every number."""
        return tuple(self._places)

    def close(self) -> None:
        """Let go of the memory and the file."""
        self.numbers.release()
        self._memory.close()
        os.close(self._file)

    def _map(self, size: int) -> None:
        missing = size - os.fstat(self._file).st_size
        # Zeros, not a hole: on a full disk this fails, while a write to mapped memory without a block ends the process.
        if os.pwrite(self._file, bytes(missing), size - missing) < missing:
            raise OSError(errno.ENOSPC, "the file of the metrics cannot grow")
        self._memory = mmap.mmap(self._file, size)
        self.numbers = memoryview(self._memory).cast("d")

    def _append(self, key: str) -> int:
        text = key.encode()
        padded = text + b" " * (8 - (len(text) + _COUNT.size) % 8)
        entry = _COUNT.pack(len(text)) + padded + _PAIR.pack(0.0, 0.0)
        end = self._used + len(entry)
        if end > len(self._memory):
            self._map(2 * max(end, len(self._memory)) // SMALLEST * SMALLEST)
        self._memory[self._used : end] = entry
        self._used = end
        self._memory[: _COUNT.size] = _COUNT.pack(end)  # at last: a reader looks no further than this
        return self._places.setdefault(key, (end - _PAIR.size) // 8)

    def _entries(self) -> Iterator[tuple[str, int]]:
        at = _HEAD
        while at < self._used:
            (length,) = _COUNT.unpack_from(self._memory, at)
            at += _COUNT.size
            yield self._memory[at : at + length].decode(), (at := at + length + 8 - (length + _COUNT.size) % 8) // 8
            at += _PAIR.size


class SharedSeries:
    """The numbers of this process, one file for each kind in ``folder``. May be shared between threads.

    A forked child goes on in files of its own with the first number that it adds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[Row] = []
        self._is_closed = self._is_full = False
        self._begin()
        self._open()
        # To look up the process id with each number would cost as much as the number.
        after_fork = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (begin := after_fork()) and begin())

    def add(self, row: Row) -> None:
        """Give ``row`` its places, now and in each forked child."""
        with self.lock:
            self._rows.append(row)
            if self.is_open or self.reopen():
                self._place(row)

    def keys(self, kind: str) -> tuple[str, ...]:
        """Return every key of a kind that this process's file holds, those of its predecessors too."""
        with self.lock:
            return self._files[kind].keys()

    def reopen(self) -> bool:
        """Open this process's own files, after a fork, and tell whether it counts. The caller holds the lock."""
        if self._is_closed:
            return False
        self._let_go()
        try:
            self._open()
        except OSError as failed:
            log.warning("process %d counts nothing: %s", os.getpid(), failed)
            self._is_closed = True
            return False
        for row in self._rows:
            self._place(row)
        return True

    def close(self) -> None:
        """Close the files and give the slot back. The numbers stay; what is added from now on is not counted."""
        with self.lock:
            if not self._is_closed:
                self._is_closed, self.is_open = True, False
                self._let_go()

    def _begin(self) -> None:
        """Begin in this process: at the start, and in a forked child, where another thread may hold the old lock."""
        # Reentrant: what counts may be a signal handler, amid a change by its own thread.
        self.lock = threading.RLock()
        self.is_open = False

    def _open(self) -> None:
        self._slot = Slot(self.folder)
        self._files = {
            kind: NumberFile(self.folder / f"{kind}_{self._slot.number}.{end}") for kind, end in KINDS.items()
        }
        self.is_open = True

    def _let_go(self) -> None:
        for file in self._files.values():
            file.close()
        self._slot.release()

    def _place(self, row: Row) -> None:
        file = self._files[row.kind]
        try:
            row.places = [file.place(key) for key in row.keys]
            row.numbers = file.numbers
        except OSError as failed:
            if not self._is_full:  # once: every new series would say so
                self._is_full = True
                log.warning("new series are not counted: %s", failed)
            row.places = list(range(0, 2 * len(row.keys), 2))
            row.numbers = memoryview(bytearray(16 * len(row.keys))).cast("d")


class Row:
    """Numbers that change together. May be shared between threads."""

    __slots__ = ("_series", "keys", "numbers", "places")

    kind: ClassVar[str]
    places: list[int]
    numbers: memoryview[float]
    """A view of the file as it was when the row got its places: a file that grew is the same memory mapped again."""

    def __init__(self, series: SharedSeries, keys: Sequence[str]) -> None:
        self._series, self.keys = series, keys
        series.add(self)


class Count(Row):
    """One number that grows."""

    __slots__ = ()
    kind = "counter"

    def add(self, amount: float = 1.0) -> None:
        """Add ``amount``."""
        series = self._series
        with series.lock:
            if series.is_open or series.reopen():
                self.numbers[self.places[0]] += amount
