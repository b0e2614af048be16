"""Keys in memory, with the contract of those in a database."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

from quadra_matrix.errors import UnknownKey, require
from quadra_matrix.store.keys import KeyKind, KeyRecord


class MemoryKeys:
    """A ``KeyStore`` that forgets with the process. May be shared between threads."""

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}
        self._lock = threading.Lock()

    def add(self, record: KeyRecord) -> None:
        """Keep a new record; sessions that expired before it was made are forgotten."""
        with self._lock:
            require(record.id not in self._records, "id", record.id, "new")
            self._records = {one: kept for one, kept in self._records.items() if not _is_over(kept, record.created)}
            self._records[record.id] = record

    def find(self, key_id: str) -> KeyRecord | None:
        """Return the record of an id, or None."""
        return self._records.get(key_id)

    def list(self) -> Sequence[KeyRecord]:
        """Return every API key, newest first; sessions are left out."""
        found = [record for record in self._records.values() if record.kind is KeyKind.API]
        return sorted(found, key=lambda record: (-record.created, record.id))

    def revoke(self, key_id: str, now: float) -> KeyRecord:
        """Return the record, revoked at the latest ``now``, its sessions with it. Raises ``UnknownKey``."""
        with self._lock:
            if key_id not in self._records:
                raise UnknownKey(key_id)
            for record in [*self._records.values()]:
                if key_id in (record.id, record.parent) and record.revoked is None:
                    self._records[record.id] = dataclasses.replace(record, revoked=now)
            return self._records[key_id]


def _is_over(record: KeyRecord, now: float) -> bool:
    return record.kind is KeyKind.SESSION and record.expires is not None and record.expires < now
