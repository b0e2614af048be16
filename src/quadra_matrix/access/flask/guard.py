"""``setup_access``: every operation of an application says what it needs, and one function checks all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from flask import Flask, current_app, g, request
from flask.globals import request_ctx

from quadra_matrix.access.flask.answers import Answer, answer_refusals, problem_answer
from quadra_matrix.access.gate import SESSION_COOKIES, Call, Gate, GateOptions, Tokens
from quadra_matrix.access.heard import log_event
from quadra_matrix.access.identity import EVERYTHING, KNOWN, PUBLIC, Identity, require_scope
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.origins import Origins
from quadra_matrix.errors import AccessRefused, Unauthenticated, require
from quadra_matrix.events import Hook
from quadra_matrix.events.access import CallRefused
from quadra_matrix.loopback import is_local

_EXTENSION = "quadra_matrix.access"
_NEED = "__quadra_need__"
_IDENTITY = "_quadra_identity"

View = TypeVar("View", bound=Callable[..., object])


def requires(scope: str) -> Callable[[View], View]:
    """Say what a view needs: a scope, ``"known"`` for any credential that holds, or ``"public"`` for none."""
    need = scope if scope in (PUBLIC, KNOWN) else require_scope(scope)

    def mark(view: View) -> View:
        setattr(view, _NEED, need)
        return view

    return mark


class Access:
    """The rules of one application. May be shared between threads; one object for each application."""

    def __init__(
        self, app: Flask, gate: Gate, needs: Mapping[str, str], *, default: str, hook: Hook = log_event
    ) -> None:
        self._app, self.gate, self._default, self._hook = app, gate, default, hook
        self._listed = dict(needs)
        self._needs: dict[str, str] = {}

    def need(self, endpoint: str) -> str:
        """Return what an operation needs: as listed, as its view says, or the default. Static files are public."""
        found = self._needs.get(endpoint)
        if found is None:
            listed = self._listed.get(endpoint) or self._listed.get(endpoint.rpartition(".")[0])
            found = self._needs[endpoint] = listed or self._said(endpoint)
        return found

    def add_needs(self, needs: Mapping[str, str]) -> None:
        """Say what further operations need, where nobody has said it."""
        self._listed = {**needs, **self._listed}
        self._needs = {}

    def identity(self) -> Identity:
        """Return who sends the current request; raise ``AccessRefused`` if that is nobody who may.

        For public operations too: there it is found out only when it is asked for.
        """
        found = known_identity()
        if found is None:
            found = self.gate.identify(call_of_request())
            setattr(g, _IDENTITY, found)
        return found

    def may(self, scope: str) -> bool:
        """Tell whether the sender of the current request has a scope."""
        return self.identity().may(scope)

    def require(self, scope: str) -> Identity:
        """Return who sends the current request, for an audit trail; raise ``AccessRefused`` without the scope."""
        identity = self.identity()
        self.gate.admit(identity, scope)
        return identity

    def admits(self) -> bool:
        """Tell whether the sender may do the current operation: for the ``authorize`` hooks of other features."""
        return self.may(self.need(request.endpoint or ""))

    def check(self) -> None:
        """Refuse the current request unless its sender may; the one place that does."""
        asked = request_ctx.request
        endpoint = asked.endpoint
        if endpoint is None or asked.method == "OPTIONS":
            return
        need = self.need(endpoint)
        if need == PUBLIC:
            return
        try:
            self.require(need)
        except AccessRefused as refused:
            self._tell(refused, f"{asked.method} {endpoint}")
            raise

    def _tell(self, refused: AccessRefused, operation: str) -> None:
        found = known_identity()
        reason = refused.reason if isinstance(refused, Unauthenticated) else type(refused).__name__
        subject = found.subject if found is not None else None
        self._hook(CallRefused(reason, operation, subject))

    def _said(self, endpoint: str) -> str:
        view = self._app.view_functions.get(endpoint)
        said = getattr(view, _NEED, None) or getattr(getattr(view, "view_class", None), _NEED, None)
        if isinstance(said, str):
            return said
        return PUBLIC if endpoint.rpartition(".")[2] == "static" else self._default


def setup_access(
    app: Flask,
    keyring: Keyring | None = None,
    *,
    tokens: Tokens | None = None,
    needs: Mapping[str, str] | None = None,
    default: str = KNOWN,
    anonymous: Iterable[str] = (),
    local: Iterable[str] = (EVERYTHING,),
    trusted_origins: Iterable[str] = (),
    answer: Answer = problem_answer,
    hook: Hook = log_event,
) -> Access:
    """Let only those call an operation of ``app`` whose key, token or session has the scope that it needs.

    ``needs`` maps endpoints, and blueprints for the rest of theirs, to scopes and goes before ``@requires`` on the
    view; ``default`` is for views that say nothing. ``anonymous`` and ``local`` are the scopes of callers without a
    credential, and of those on this very machine: everything, until somebody else can reach it. Pass ``local=()`` in
    production. A credential that does not hold is refused in any case. Also
    ``app.extensions["quadra_matrix.access"]``.
    """
    for need in (default, *(needs or {}).values()):
        if need not in (PUBLIC, KNOWN):
            require_scope(need)
    options = GateOptions(
        anonymous_scopes=frozenset(map(require_scope, anonymous)),
        local_scopes=frozenset(map(require_scope, local)),
        trusted_origins=Origins.of(trusted_origins),
    )
    access = Access(app, Gate(keyring, tokens, options), needs or {}, default=default, hook=hook)
    answer_refusals(app, answer)
    app.before_request(access.check)
    app.extensions[_EXTENSION] = access
    return access


def access_of(app: Flask | None = None) -> Access:
    """Return the rules of an application, by default of the current one."""
    found = (app or current_app).extensions.get(_EXTENSION)
    require(isinstance(found, Access), "app", (app or current_app).name, "one that setup_access was called on")
    assert isinstance(found, Access)
    return found


def known_identity() -> Identity | None:
    """Return who sends the current request, if that was asked for already."""
    found = g.get(_IDENTITY)
    return found if isinstance(found, Identity) else None


def call_of_request() -> Call:
    """Return what the current request shows of its caller."""
    asked = request_ctx.request
    given = asked.environ.get
    return Call(
        method=asked.method,
        own_origin=own_origin,
        is_local=_is_local,
        authorization=given("HTTP_AUTHORIZATION"),
        api_key=given("HTTP_X_API_KEY"),
        session=session_cookie(),
        csrf=_csrf,
        origin=given("HTTP_ORIGIN"),
        fetch_site=given("HTTP_SEC_FETCH_SITE"),
    )


def own_origin() -> str:
    """Return the origin that the current request was sent to."""
    return request.host_url.rstrip("/")


def session_cookie() -> str | None:
    """Return the cookie of a session that the current request carries, or None."""
    asked = request_ctx.request
    if "HTTP_COOKIE" not in asked.environ:
        return None
    cookies = asked.cookies
    over_https, over_http = SESSION_COOKIES
    # Another service on this host can set the plain cookie, so it counts for nothing where the other one is to be had.
    return cookies.get(over_https if asked.is_secure else over_http)


def _is_local() -> bool:
    return is_local(request.remote_addr or "", request.host, request.headers)


def _csrf() -> str | None:
    given = request.headers.get("X-CSRF-Token")
    if given is None and request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return request.form.get("csrf_token")
    return given
