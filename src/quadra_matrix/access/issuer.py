"""The signing keys of an OpenID Connect issuer: found, kept, renewed when they rotate, and never waited for long."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

from quadra_matrix.access.heard import log_event
from quadra_matrix.access.jose import SigningKey, keys_in
from quadra_matrix.access.origins import require_secure
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AccessUndecided, InvalidValue, require
from quadra_matrix.events import Hook
from quadra_matrix.events.access import SigningKeysRead, SigningKeysUnreadable

REFRESH = 300.0
"""Seconds after which keys are read again: how late a key that the issuer took back is refused."""

OLDEST = 86_400.0
"""Seconds that keys hold while the issuer does not answer."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds between two readings, twice as many after each failure: invented key ids cost the issuer little."""

PATIENCE = 2.0
"""Seconds that a request waits for keys that it needs."""

DEADLINE = 5.0
"""Seconds that the issuer may take for one document."""

LARGEST = 512 * 1024
"""Bytes of one document."""

Fetch = Callable[[str], bytes]
"""Returns the document at an address. Raises ``OSError``."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An issuer's documents are where it says, or nowhere."""

    def redirect_request(self, *given: Any) -> None:
        """Follow nothing."""


_opener = urllib.request.build_opener(_NoRedirects)


def fetch(url: str, clock: Clock = SYSTEM_CLOCK) -> bytes:
    """Return a document of at most ``LARGEST`` bytes, within ``DEADLINE`` seconds for each answer and for all of it."""
    until = clock.monotonic() + DEADLINE
    try:
        with _opener.open(require_secure(url), timeout=DEADLINE) as answer:
            text = b""
            while len(text) <= LARGEST and (piece := answer.read1(65_536)):
                text += piece
                if clock.monotonic() > until:
                    raise TimeoutError(f"not all of it came within {DEADLINE:g} s")
    except urllib.error.HTTPError as refused:
        refused.close()
        raise OSError(f"it answered {refused.code}") from None
    except HTTPException as broken:
        raise OSError(str(broken)) from broken
    if len(text) > LARGEST:
        raise OSError(f"it is larger than {LARGEST} bytes")
    return bytes(text)


class Issuer:
    """The keys of one issuer. May be shared between threads.

    Keys are read by a thread of their own when they are needed first, when they are older than ``REFRESH``, and when a
    token names one that is not there. Only requests that need such a key wait, ``PATIENCE`` seconds at most.
    """

    def __init__(
        self, issuer: str, *, fetch: Fetch = fetch, hook: Hook = log_event, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.issuer = require_secure(issuer)
        self._fetch, self._hook, self._clock = fetch, hook, clock
        self._lock = threading.Lock()
        self._keys: Mapping[str | None, SigningKey] = {}
        self._read_at: float | None = None
        self._next_at = clock.monotonic()
        self._failures = 0
        self._reading: threading.Event | None = None

    def key(self, kid: str | None) -> SigningKey | None:
        """Return a key by its id, or the only key where a token names none; None if the issuer has no such key.

        Raises ``AccessUndecided`` while no keys are known.
        """
        found = self._find(kid)
        is_fresh = self._read_at is not None and self._clock.monotonic() - self._read_at < REFRESH
        if found is not None and is_fresh:
            return found
        reading = self._begin_reading()
        if found is not None:
            return found
        if reading is not None:
            reading.wait(PATIENCE)
            found = self._find(kid)
        if found is None and not self._current():
            raise AccessUndecided(f"the keys of {self.issuer} are not known")
        return found

    def _current(self) -> Mapping[str | None, SigningKey]:
        """Return the keys that still hold."""
        if self._read_at is None or self._clock.monotonic() - self._read_at >= OLDEST:
            return {}
        return self._keys

    def _find(self, kid: str | None) -> SigningKey | None:
        keys = self._current()
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _begin_reading(self) -> threading.Event | None:
        """Return the end of a reading that goes on, or begins because one is due; None if none is."""
        with self._lock:
            if self._reading is not None:
                return self._reading
            if self._clock.monotonic() < self._next_at:
                return None
            done = self._reading = threading.Event()
        threading.Thread(target=self._read, args=(done,), name="quadra-issuer", daemon=True).start()
        return done

    def _read(self, done: threading.Event) -> None:
        """Read the keys and say what came of it."""
        event: SigningKeysRead | SigningKeysUnreadable
        try:
            keys = keys_in(self._fetch(self._place_of_keys()))
        except (OSError, InvalidValue) as failed:
            event = SigningKeysUnreadable(self.issuer, str(failed))
            self._settle(done, None)
        else:
            event = SigningKeysRead(self.issuer, len(keys))
            self._settle(done, keys)
        self._hook(event)

    def _settle(self, done: threading.Event, keys: Mapping[str | None, SigningKey] | None) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if keys is not None:
                self._keys, self._read_at = keys, now
            self._failures = 0 if keys is not None else self._failures + 1
            self._next_at = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
            self._reading = None
        done.set()

    def _place_of_keys(self) -> str:
        """Return where the issuer says that its keys are. It must be the issuer that says so."""
        place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            told = json.loads(self._fetch(place))
            issuer, keys = told["issuer"], told["jwks_uri"]
        except (ValueError, TypeError, KeyError, RecursionError) as wrong:
            raise InvalidValue("discovery", place, "a document with issuer and jwks_uri") from wrong
        require(issuer == self.issuer, "issuer", issuer, f"{self.issuer!r}, as it is configured")
        require(isinstance(keys, str), "jwks_uri", keys, "an address")
        return require_secure(keys)
