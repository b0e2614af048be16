"""Where backups are kept, and their names, by which they sort."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from quadra_matrix.errors import BackupMissing

SUFFIX, SEALED = ".tar.gz", ".age"

NAME = re.compile(r"quadra-(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{6}\.tar\.gz(?P<sealed>\.age)?")
"""What a backup's name looks like; all else in a target is not ours and is left alone."""


LEFTOVER_AGE = 86_400.0
"""Seconds after which a file that is still being written belongs to nobody."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup in a target. ``made`` is in seconds since the epoch, ``size`` in bytes."""

    name: str
    made: float
    size: int
    is_encrypted: bool


class Target(Protocol):
    """Where backups are kept. Raises ``BackupMissing`` for an unknown name, ``TargetUnavailable`` when it cannot."""

    def put(self, name: str, file: Path) -> None:
        """Keep a copy of the file; under its name either all of it appears or nothing."""

    def fetch(self, name: str, into: Path) -> None:
        """Write the backup to the file ``into``."""

    def entries(self) -> list[Entry]:
        """Return every backup, oldest first."""

    def delete(self, name: str) -> None:
        """Remove the backup."""


def name_of(made: float, chance: str, *, is_encrypted: bool) -> str:
    """Return the name of a backup made at that time; ``chance`` is six hexadecimal digits."""
    time = datetime.fromtimestamp(int(made), UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"quadra-{time}-{chance}{SUFFIX}{SEALED if is_encrypted else ''}"


def entry_of(name: str, size: int) -> Entry | None:
    """Return what the name says, or None when it is not a backup's."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    try:
        made = datetime.strptime(found["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # the thirtieth of February
        return None
    return Entry(name, made.timestamp(), size, found["sealed"] is not None)


class Folder:
    """A folder of this machine or of a mounted file system, made when the first backup comes. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, file: Path) -> None:
        """Copy under another name, wait for the disk, rename."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path / f".{name}.partial"
        try:
            with (
                file.open("rb") as source,
                os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 1024 * 1024)
                copy.flush()
                os.fsync(copy.fileno())
            self._clear_leftovers()
            partial.rename(self.path / name)
        finally:
            partial.unlink(missing_ok=True)

    def fetch(self, name: str, into: Path) -> None:
        """Copy the file."""
        try:
            shutil.copyfile(self._file(name), into)
        except FileNotFoundError:
            raise BackupMissing(name) from None

    def entries(self) -> list[Entry]:
        """Return every backup, oldest first; an absent folder holds none."""
        found = [entry_of(file.name, file.stat().st_size) for file in self.path.glob("quadra-*")]
        return sorted((entry for entry in found if entry), key=lambda entry: (entry.made, entry.name))

    def delete(self, name: str) -> None:
        """Remove the file."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise BackupMissing(name) from None

    def _clear_leftovers(self) -> None:
        """Remove what was being written long before the newest such file: whoever wrote it was killed."""
        written = {file: file.stat().st_mtime for file in self.path.glob(".quadra-*.partial")}
        for file, at in written.items():
            if max(written.values()) - at > LEFTOVER_AGE:
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        if NAME.fullmatch(name) is None:  # a name comes from a command line
            raise BackupMissing(name)
        return self.path / name
