"""Which backups are kept: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.storage.backup.target import Entry

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """A backup is kept when one of the two rules keeps it."""

    last: int = 7
    """The newest so many, however old; at least one."""
    days: float = 30.0
    """All that are younger than this."""


def expired(entries: Sequence[Entry], rule: Retention, now: float) -> list[Entry]:
    """Return what may go, oldest first. The newest backup never does."""
    newest_first = sorted(entries, key=lambda entry: (entry.made, entry.name), reverse=True)
    old = newest_first[max(1, rule.last) :]
    return [entry for entry in reversed(old) if now - entry.made >= rule.days * DAY]
