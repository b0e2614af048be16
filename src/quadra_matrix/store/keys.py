"""What lasts of API keys and sessions: never the secret itself."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class KeyKind(enum.StrEnum):
    """What a secret is for."""

    API = "api"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One secret that was handed out. Times are seconds since the epoch."""

    id: str
    """The part of the secret that may be shown."""
    kind: KeyKind
    digest: str = field(repr=False)
    """Keyed hash of the whole secret, as hexadecimal digits."""
    subject: str
    """Who acts when it is shown, as audit trails name it."""
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None = None
    parent: str | None = None
    """Of a session: the key that was shown to get it, if it was one. A session ends with its key."""

    def ends(self) -> float | None:
        """Return when it stopped or stops to hold; None for never."""
        known = [moment for moment in (self.expires, self.revoked) if moment is not None]
        return min(known) if known else None


class KeyStore(Protocol):
    """Where keys and sessions last. May be shared between threads and processes."""

    def add(self, record: KeyRecord) -> None:
        """Keep a new record; sessions that expired before it was made are forgotten."""

    def find(self, key_id: str) -> KeyRecord | None:
        """Return the record of an id, or None."""

    def list(self) -> Sequence[KeyRecord]:
        """Return every API key, newest first; sessions are left out."""

    def revoke(self, key_id: str, now: float) -> KeyRecord:
        """Return the record, revoked at the latest ``now``, its sessions with it. Raises ``UnknownKey``."""
