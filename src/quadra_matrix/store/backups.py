"""What became of backups, for whoever asks when the last one was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """One attempt to make a backup. Times are seconds since the epoch; ``size`` is in bytes."""

    started: float
    finished: float
    name: str | None
    """Name in the target; None when it failed."""
    size: int
    error: str | None
    """Why it failed; None when it did not."""


class BackupLog(Protocol):
    """The latest attempts."""

    def add(self, record: BackupRecord) -> None:
        """Keep the record."""

    def latest(self, limit: int) -> list[BackupRecord]:
        """Return the newest records, newest first."""

    def last_made(self) -> BackupRecord | None:
        """Return the newest record of a backup that was made."""
