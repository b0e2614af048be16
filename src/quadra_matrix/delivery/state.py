"""The record of deliveries: as JSON, and in one file behind a lock and compare-and-swap."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from quadra_matrix.delivery.model import Record
from quadra_matrix.delivery.ports import Stored
from quadra_matrix.errors import StateChanged, StateUnreadable, StateUnwritable
from quadra_matrix.files import replace_file

NEVER = "0"
"""Revision of a record that was never stored."""


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def to_json(record: Record) -> bytes:
    """Return the record as JSON."""
    return _adapter().dump_json(record)


def from_json(text: bytes) -> Record:
    """Return the record in ``text``. Raises ``ValueError`` when it is none."""
    return _adapter().validate_json(text)


class FileState:
    """A ``State`` in ``folder/rollout.json``. Several processes may use the same folder at once."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / "rollout.json", folder / "rollout.lock"
        self._last: tuple[bytes, Stored] | None = None

    def read(self) -> Stored:
        """Return the record; an empty one where nothing was ever stored."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return Stored(Record(), NEVER)
        except OSError as failed:
            raise StateUnreadable(str(self._path), str(failed)) from failed
        return self._parsed(text)

    def swap(self, record: Record, revision: str) -> Stored:
        """Store a record if the revision is still the one that was read. It is on the disk when this returns."""
        with self._locked():
            if self.read().revision != revision:
                raise StateChanged(str(self._path))
            stored = Stored(record, str(int(revision) + 1))
            try:
                replace_file(self._path, stored.revision.encode() + b"\n" + to_json(record) + b"\n")
            except OSError as failed:
                raise StateUnwritable(str(self._path), failed.strerror or str(failed)) from failed
            return stored

    def _parsed(self, text: bytes) -> Stored:
        """Return what the file says: its revision on the first line, the record below."""
        if self._last is not None and self._last[0] == text:  # a waiting engine glances five times a second
            return self._last[1]
        revision, _, record = text.partition(b"\n")
        try:
            stored = Stored(from_json(record), str(int(revision)))
        except (ValidationError, ValueError) as broken:
            raise StateUnreadable(str(self._path), "it is not a record of deliveries") from broken
        self._last = text, stored
        return stored

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file lock; the kernel frees it when the process ends, however it ends."""
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failed:
            raise StateUnwritable(str(self._lock), failed.strerror or str(failed)) from failed
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
