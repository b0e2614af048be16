"""Hand out keys and sessions, and find out whose one is shown: once in the database, then from memory."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from quadra_matrix.access.identity import Identity, Via, require_scope
from quadra_matrix.access.keys import PREFIXES, Shown, digest, draw, read
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AccessUndecided, DatabaseUnavailable, TablesMissing, Unauthenticated, require
from quadra_matrix.store.keys import KeyKind, KeyRecord, KeyStore

RECHECK = 2.0
"""Seconds after which a key that was found good is looked up again: how late another machine sees a revocation."""

GRACE = 60.0
"""Seconds that a key found good stays good while the database does not answer."""

MOST_SEEN = 4096
"""Keys that one process remembers."""


class Changes(Protocol):
    """Tells the processes of one machine, for next to nothing, that keys have changed."""

    def grow(self) -> None:
        """Make ``size`` another number, in every process."""

    def size(self) -> int:
        """Return a number that is another one after each change."""


class OwnChanges:
    """Changes of one process alone."""

    def __init__(self) -> None:
        self._size = 0

    def grow(self) -> None:
        """Make ``size`` another number."""
        self._size += 1

    def size(self) -> int:
        """Return a number that is another one after each change."""
        return self._size


@dataclass(frozen=True, slots=True)
class _Seen:
    """A key that was found good."""

    identity: Identity
    ends: float
    stamp: int
    found: float
    """When the database said so, in the time of the monotonic clock."""
    asked: float
    """When the database was asked last; it may have been away."""


class Keyring:
    """The keys and sessions of one service. May be shared between threads.

    A key that was found good is answered from memory. It is looked up again as soon as a process of this machine has
    changed any key, after ``recheck`` seconds otherwise, and while the database is away it stays good for ``grace``
    seconds. ``peppers`` are the keys of the hash, the current one first; earlier ones are still accepted.
    """

    def __init__(
        self,
        store: KeyStore,
        peppers: Sequence[bytes],
        *,
        changes: Changes | None = None,
        recheck: float = RECHECK,
        grace: float = GRACE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        require(
            bool(peppers) and all(len(each) >= 16 for each in peppers), "peppers", "(not shown)", "16 bytes or more"
        )
        self._store, self._peppers, self._clock = store, tuple(peppers), clock
        self._changes: Changes = changes or OwnChanges()
        self._recheck, self._grace = recheck, grace
        self._seen: dict[str, _Seen] = {}

    def create(self, name: str, scopes: Iterable[str], *, seconds: float | None = None) -> tuple[KeyRecord, str]:
        """Return a new API key that holds for ``seconds``, or until it is revoked, and its secret: the only copy."""
        require(0 < len(name) <= 100 and name.isprintable(), "name", name, "1 to 100 printable characters")
        chosen = tuple(dict.fromkeys(map(require_scope, scopes)))
        require(bool(chosen), "scopes", chosen, "one or more")
        require(seconds is None or seconds > 0, "seconds", seconds, "above 0")
        now = self._clock.now()
        shown = draw(KeyKind.API)
        expires = None if seconds is None else now + seconds
        return self._keep(shown, KeyRecord(shown.id, KeyKind.API, "", f"key:{shown.id}", name, chosen, now, expires))

    def open_session(self, holder: Identity, seconds: float) -> tuple[KeyRecord, str]:
        """Return a session for somebody whose credential holds, and its secret; it ends with the credential."""
        now = self._clock.now()
        shown = draw(KeyKind.SESSION)
        expires = now + seconds if holder.expires is None else min(now + seconds, holder.expires)
        scopes = tuple(sorted(holder.scopes))
        record = KeyRecord(shown.id, KeyKind.SESSION, "", holder.subject, holder.name, scopes, now, expires)
        return self._keep(shown, dataclasses.replace(record, parent=holder.key))

    def list(self) -> Sequence[KeyRecord]:
        """Return every API key, newest first."""
        return self._store.list()

    def revoke(self, key_id: str) -> KeyRecord:
        """End a key and its sessions, or one session. Raises ``UnknownKey``."""
        record = self._store.revoke(key_id, self._clock.now())
        self._changes.grow()
        return record

    def identify(self, text: str, kind: KeyKind) -> Identity:
        """Return who shows ``text``. Raises ``Unauthenticated``, ``AccessUndecided`` while nobody can tell."""
        if not text.startswith(PREFIXES[kind]):
            raise Unauthenticated("malformed")
        fingerprint = digest(text, self._peppers[0])
        now, ticks, stamp = self._clock.now(), self._clock.monotonic(), self._changes.size()
        seen = self._seen.get(fingerprint)
        if seen is None or seen.stamp != stamp or ticks - seen.asked >= self._recheck:
            seen = self._look_up(text, seen)
            if len(self._seen) >= MOST_SEEN:
                self._seen = {}
            self._seen[fingerprint] = dataclasses.replace(seen, stamp=stamp)
        if now >= seen.ends:
            raise Unauthenticated("expired")
        return seen.identity

    def _look_up(self, text: str, seen: _Seen | None) -> _Seen:
        shown = read(text)
        if shown is None:
            raise Unauthenticated("malformed")
        ticks = self._clock.monotonic()
        try:
            record = self._store.find(shown.id)
        except (DatabaseUnavailable, TablesMissing) as away:
            if seen is None or ticks - seen.found >= self._grace:
                raise AccessUndecided(str(away)) from away
            return dataclasses.replace(seen, asked=self._clock.monotonic())
        if record is None or not any(hmac.compare_digest(record.digest, digest(text, one)) for one in self._peppers):
            raise Unauthenticated("unknown")
        if record.revoked is not None:
            raise Unauthenticated("revoked")
        ends = float("inf") if record.expires is None else record.expires
        return _Seen(_identity(record), ends, 0, found=ticks, asked=ticks)

    def _keep(self, shown: Shown, record: KeyRecord) -> tuple[KeyRecord, str]:
        record = dataclasses.replace(record, digest=digest(shown.text, self._peppers[0]))
        self._store.add(record)
        return record, shown.text


def _identity(record: KeyRecord) -> Identity:
    via = Via.SESSION if record.kind is KeyKind.SESSION else Via.KEY
    return Identity(record.subject, record.name, frozenset(record.scopes), via, record.expires, record.id)
