"""``setup_sign_in``: a browser session for operators, opened with an API key or a bearer token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from flask import Blueprint, Flask, Response, request

from quadra_matrix.access.flask.guard import Access, access_of, call_of_request, session_cookie
from quadra_matrix.access.flask.limits import network_of
from quadra_matrix.access.gate import LONGEST_CREDENTIAL, SESSION_COOKIES
from quadra_matrix.access.heard import log_event
from quadra_matrix.access.identity import KNOWN, PUBLIC, Identity, Via
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import csrf_token, read
from quadra_matrix.access.limiter import Limiter, MemoryBuckets
from quadra_matrix.access.limits import Direction, Rate
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import Forbidden, TooManyRequests, Unauthenticated, UnknownKey, require
from quadra_matrix.events import Hook
from quadra_matrix.events.access import SignedIn, SignedOut, SignInFailed

TRIES = Rate(10, 60.0)
"""Attempts to sign in from one address. They fail closed: without a count there is no attempt."""

SESSION_SECONDS = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has just begun."""

    identity: Identity
    csrf_token: str
    expires: float
    """Seconds since the epoch."""
    secret: str = field(repr=False)
    """The value of the cookie."""


class SignIn:
    """Opens and ends the sessions of one application; pages of its own call it, or the routes of ``setup_sign_in``."""

    def __init__(
        self,
        access: Access,
        keyring: Keyring,
        *,
        seconds: float = SESSION_SECONDS,
        limiter: Limiter | None = None,
        tries: Rate = TRIES,
        hook: Hook = log_event,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        require(seconds > 0, "seconds", seconds, "above 0")
        self._access, self._keyring, self._seconds = access, keyring, seconds
        self._limiter, self._tries = limiter or Limiter(MemoryBuckets()), tries
        self._hook, self._clock = hook, clock

    def open(self, credential: str) -> Opened:
        """Return a new session for whoever shows an API key or a bearer token; an earlier one of the browser ends.

        Raises ``Unauthenticated``, ``Forbidden`` for a page of another site or a connection that others can read,
        ``TooManyRequests`` after too many tries, and ``AccessUndecided`` while they cannot be counted.
        """
        address = network_of(request.remote_addr or "")
        self._access.gate.require_own_page(call_of_request())
        if not request.is_secure and not call_of_request().is_local():
            raise Forbidden("sign in over https: others could read the session here")
        self._count(address)
        try:
            holder = self._access.gate.of_credential(credential[: LONGEST_CREDENTIAL + 1].strip())
        except Unauthenticated as refused:
            self._hook(SignInFailed(refused.reason, address))
            raise
        self._end_current()
        record, secret = self._keyring.open_session(holder, self._seconds)
        self._hook(SignedIn(holder.subject, address))
        identity = self._access.gate.of_session(secret)
        return Opened(identity, csrf_token(secret), record.expires or 0.0, secret)

    def keep(self, response: Response, opened: Opened) -> None:
        """Give the browser the cookie of a session."""
        seconds = max(0, int(opened.expires - self._clock.now()))
        _set_cookie(response, opened.secret, seconds)

    def end(self, response: Response) -> None:
        """End the session of the current request, on the server too, and take back its cookie."""
        identity = self._end_current()
        if identity is not None:
            self._hook(SignedOut(identity))
        _set_cookie(response, "", 0)

    def csrf_token(self) -> str | None:
        """Return the token that a page of the current session sends as ``X-CSRF-Token``, or as ``csrf_token``."""
        secret = session_cookie()
        return None if secret is None else csrf_token(secret)

    def _count(self, address: str) -> None:
        for said in self._limiter.take([(f"sign-in:{address}", self._tries)], Direction.CLOSED):
            if not said.is_allowed:
                raise TooManyRequests("sign-in", said.retry_after)

    def _end_current(self) -> str | None:
        """End the session whose cookie the request carries; return who had it."""
        secret = session_cookie()
        shown = read(secret) if secret else None
        if secret is None or shown is None:
            return None
        try:
            self._access.gate.of_session(secret)
            return self._keyring.revoke(shown.id).subject
        except (Unauthenticated, UnknownKey):
            return None


def setup_sign_in(
    app: Flask,
    keyring: Keyring,
    *,
    prefix: str = "/api/session",
    seconds: float = SESSION_SECONDS,
    limiter: Limiter | None = None,
    hook: Hook = log_event,
    clock: Clock = SYSTEM_CLOCK,
) -> SignIn:
    """Let operators sign in to ``app``: ``POST prefix`` opens a session, ``GET`` shows it, ``DELETE`` ends it.

    ``POST`` takes ``{"credential": "..."}`` and sets a cookie that scripts cannot read; what a page of the session
    changes it sends with the ``csrf_token`` of the answer, as ``X-CSRF-Token``. Templates get ``csrf_token()``. A
    session is kept on the server, ends with the key that opened it, and after ``seconds``. ``limiter`` counts attempts
    and fails closed. Call it after ``setup_access``.
    """
    access = access_of(app)
    sign_in = SignIn(access, keyring, seconds=seconds, limiter=limiter, hook=hook, clock=clock)
    routes = Blueprint("session", __name__, url_prefix=prefix)

    @routes.post("")
    def open_session() -> Response:
        opened = sign_in.open(_credential())
        answer = _shown(opened.identity, opened.csrf_token)
        sign_in.keep(answer, opened)
        return answer

    @routes.get("")
    def show_session() -> Response:
        identity = access.identity()
        return _shown(identity, sign_in.csrf_token() if identity.via is Via.SESSION else None)

    @routes.delete("")
    def end_session() -> Response:
        answer = Response(status=204)
        sign_in.end(answer)
        return answer

    app.register_blueprint(routes)
    access.add_needs({"session": KNOWN, "session.open_session": PUBLIC})
    app.add_template_global(sign_in.csrf_token, "csrf_token")
    app.extensions["quadra_matrix.sign_in"] = sign_in
    return sign_in


def _credential() -> str:
    """Return what the caller shows; only JSON, which a page of another site cannot send unasked."""
    request.max_content_length = 2 * LONGEST_CREDENTIAL
    asked = request.get_json(silent=True) if request.is_json else None
    given = asked.get("credential") if isinstance(asked, dict) else None
    return given if isinstance(given, str) else ""


def _shown(identity: Identity, token: str | None) -> Response:
    told = {
        "subject": identity.subject,
        "name": identity.name,
        "scopes": sorted(identity.scopes),
        "via": str(identity.via),
        "expires": identity.expires,
        "csrf_token": token,
    }
    answer = Response(json.dumps(told), mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _set_cookie(response: Response, secret: str, seconds: int) -> None:
    """Set the cookie: no script reads it, and no page of another site sends it with what it posts."""
    name = SESSION_COOKIES[0 if request.is_secure else 1]
    response.set_cookie(name, secret, max_age=seconds, secure=request.is_secure, httponly=True, samesite="Lax")
