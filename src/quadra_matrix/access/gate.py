"""The one place that decides who calls and whether that is enough, for HTTP and for WebSockets. Knows no framework."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from quadra_matrix.access.identity import EVERYTHING, PUBLIC, Identity, Via, anonymous, local
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import PREFIXES, csrf_token
from quadra_matrix.access.origins import SAFE_METHODS, Origins, is_foreign
from quadra_matrix.errors import Forbidden, Unauthenticated
from quadra_matrix.store.keys import KeyKind

CHALLENGE = 'Bearer realm="api"'
"""``WWW-Authenticate`` of an answer 401."""

SESSION_COOKIES = ("__Host-quadra_session", "quadra_session")
"""Over HTTPS, and over HTTP on this machine. A browser takes the first one from this very host over HTTPS only."""

LONGEST_CREDENTIAL = 16_384
"""Characters; a longer one is refused unread."""

_KEY = PREFIXES[KeyKind.API]


class Tokens(Protocol):
    """Verifies bearer tokens that somebody else has issued."""

    def identify(self, text: str) -> Identity:
        """Return who shows the token. Raises ``Unauthenticated`` or ``AccessUndecided``."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one request shows of its caller; what is rarely asked for is a function."""

    method: str
    own_origin: Callable[[], str]
    """Returns the origin that the request was sent to."""
    is_local: Callable[[], bool]
    """Tells whether it came from this machine, not passed on by a proxy."""
    authorization: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    """The header ``X-API-Key``."""
    session: str | None = field(default=None, repr=False)
    """The session's cookie."""
    csrf: Callable[[], str | None] = field(default=lambda: None, repr=False)
    """Returns the header ``X-CSRF-Token``, or the form's field."""
    origin: str | None = None
    fetch_site: str | None = None


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Who is let in without a credential, and which pages act for a session."""

    anonymous_scopes: frozenset[str] = frozenset()
    """What a caller without a credential may do."""
    local_scopes: frozenset[str] = frozenset({EVERYTHING})
    """What a caller on this machine without a credential may do."""
    trusted_origins: Origins = field(default_factory=lambda: Origins(frozenset()))
    """Origins of ours besides the one that was asked; their pages may act for a session. ``*`` counts for nothing."""


class Gate:
    """Decides about calls. Immutable but for what its parts remember; may be shared between threads."""

    def __init__(
        self, keyring: Keyring | None = None, tokens: Tokens | None = None, options: GateOptions = GateOptions()
    ) -> None:
        self._keyring, self._tokens, self._options = keyring, tokens, options
        self._anonymous, self._local = anonymous(options.anonymous_scopes), local(options.local_scopes)

    def identify(self, call: Call) -> Identity:
        """Return who calls. Raises ``Unauthenticated`` for a credential that does not hold, whatever else is open.

        A header goes before a cookie. Raises ``Forbidden`` where a browser acts for a page of another site: by a cookie
        or by being on this machine, which it shows without being told to.
        """
        if call.authorization is not None:
            scheme, _, text = call.authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated("scheme")
            return self.of_credential(text.strip())
        if call.api_key is not None:
            return self._of_key(call.api_key)
        session = self._of_session(call) if call.session is not None else None
        if session is not None:
            return session
        if self._local.scopes and call.is_local():
            self.require_own_page(call)
            return self._local
        return self._anonymous

    def of_credential(self, text: str) -> Identity:
        """Return who shows an API key or a bearer token."""
        if text.startswith(_KEY):
            return self._of_key(text)
        if self._tokens is None or len(text) > LONGEST_CREDENTIAL:
            raise Unauthenticated("malformed")
        return self._tokens.identify(text)

    def of_session(self, text: str) -> Identity:
        """Return whose session a cookie's value is."""
        if self._keyring is None or len(text) > LONGEST_CREDENTIAL:
            raise Unauthenticated("malformed")
        return self._keyring.identify(text, KeyKind.SESSION)

    def admit(self, identity: Identity, need: str) -> None:
        """Return if the scopes of the caller are enough for a need; else raise ``Unauthenticated`` or ``Forbidden``."""
        if identity.may(need):
            return
        if identity.via is Via.NOTHING:
            raise Unauthenticated("missing")
        raise Forbidden(f"this needs a credential with the scope {need!r}")

    def decide(self, call: Call, need: str) -> Identity:
        """Return who calls, if that is enough for a need. What is public is not looked at."""
        if need == PUBLIC:
            return self._anonymous
        identity = self.identify(call)
        self.admit(identity, need)
        return identity

    def require_own_page(self, call: Call) -> None:
        """Raise ``Forbidden`` where a browser sends something that changes for a page of another site."""
        if is_foreign(
            method=call.method,
            site=call.fetch_site,
            origin=call.origin,
            own=call.own_origin,
            trusted=self._options.trusted_origins,
        ):
            raise Forbidden("a page of another site may not do this")

    def _of_key(self, text: str) -> Identity:
        if self._keyring is None or len(text) > LONGEST_CREDENTIAL:
            raise Unauthenticated("malformed")
        return self._keyring.identify(text, KeyKind.API)

    def _of_session(self, call: Call) -> Identity | None:
        """Return who a session stands for; a cookie that no longer holds is none, as browsers send it unasked."""
        text = call.session or ""
        try:
            identity = self.of_session(text)
        except Unauthenticated:
            return None
        self.require_own_page(call)
        if call.method not in SAFE_METHODS and not _same(call.csrf(), csrf_token(text)):
            raise Forbidden("send the session's X-CSRF-Token with what changes something")
        return identity


def _same(given: str | None, expected: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())
