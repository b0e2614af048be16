"""TLS in a Flask application: its headers, its redirect, the proxies it trusts, the context of its server."""

from __future__ import annotations

import base64
import re
import ssl
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Flask, g, request
from werkzeug.exceptions import BadRequest, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response
from werkzeug.wsgi import get_host

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import require
from quadra_matrix.events import Hook
from quadra_matrix.tls.challenges import PREFIX, ChallengeLayer
from quadra_matrix.tls.headers import Header, HeaderOptions, SecurityHeaders, nonce_of
from quadra_matrix.tls.passing import CLIENT_CERTIFICATE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from quadra_matrix.store.certificates import CertificateStore
    from quadra_matrix.tls.pairs import Pair
    from quadra_matrix.tls.renewer import Renewer

PLAIN_PATHS = (PREFIX,)
"""Paths that answer over plain HTTP: certificate authorities ask there before there is a certificate."""

START_OF_SERVER = 10.0
"""Seconds until an order that the application itself has to answer for: a server needs a moment to start."""

_PORT = re.compile(r":\d*$")


class TLSConfig:
    """What ``setup_tls`` returns: the certificate and the context of the application's server."""

    def __init__(
        self, *, challenges: ChallengeLayer | None = None, clock: Clock = SYSTEM_CLOCK, hook: Hook | None = None
    ) -> None:
        self._challenges, self._clock, self._hook = challenges, clock, hook
        self._cert_dir = Path("certs")
        self._stop = threading.Event()
        self._renewing: threading.Thread | None = None

    def generate_self_signed_cert(
        self, cert_dir: str | Path = "certs", days_valid: float = 365, common_name: str = "localhost"
    ) -> Pair:
        """Make a certificate for development, or keep a good one; see ``certs.generate_self_signed_cert``."""
        from quadra_matrix.tls.certs import generate_self_signed_cert

        self._cert_dir = Path(cert_dir)
        return generate_self_signed_cert(cert_dir, days_valid, common_name, clock=self._clock)

    def setup_letsencrypt(
        self,
        domain: str,
        email: str,
        *,
        agree_to_terms: bool = False,
        also: Iterable[str] = (),
        cert_dir: str | Path = "certs",
        directory: str | None = None,
        roots: str | Path | None = None,
        profile: str | None = None,
        http_port: int | None = 80,
        http_address: str = "",
        store: CertificateStore | None = None,
        renew: bool = True,
    ) -> Pair:
        """Return the pair of ``domain`` from Let's Encrypt, or the authority at ``directory``; see ``OrderOptions``.

        A good pair is kept without asking anybody; else this waits for the first one, at most eight minutes. A thread
        renews it. With ``http_port=None`` the application itself has to answer the authority, which it cannot yet: then
        a certificate of our own stands in, and the thread replaces it. Workers share ``store``, or the folder.
        """
        from quadra_matrix.tls.certs import stand_in
        from quadra_matrix.tls.letsencrypt import renewer_in, shelf_in
        from quadra_matrix.tls.ordering import LETS_ENCRYPT, OrderOptions

        options = OrderOptions(
            domain, email, tuple(also), directory or LETS_ENCRYPT, Path(roots) if roots else None, profile,
            agree_to_terms, http_port, http_address,
        )  # fmt: skip
        shared = store or shelf_in(Path(cert_dir), self._clock)
        if self._challenges is not None:
            self._challenges.store = shared
        renewer = renewer_in(Path(cert_dir), options, store=shared, clock=self._clock, hook=self._hook)
        self._cert_dir = Path(cert_dir) / options.domain.lower()
        pair = stand_in(self._cert_dir, options.domain, clock=self._clock) if http_port is None else renewer.obtain()
        if renew:
            self._keep_renewed(renewer, after=0.0 if http_port is not None else START_OF_SERVER)
        return pair

    def close(self) -> None:
        """Stop renewing; an order under way is hardly waited for."""
        self._stop.set()
        if self._renewing is not None:
            self._renewing.join(5.0)

    def _keep_renewed(self, renewer: Renewer, after: float) -> None:
        from quadra_matrix.tls.renewer import keep_good

        self.close()
        self._stop = threading.Event()
        work = (renewer, self._stop, after)
        self._renewing = threading.Thread(target=keep_good, args=work, name="certificate", daemon=True)
        self._renewing.start()

    def create_ssl_context(
        self,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        *,
        client_ca: str | Path | None = None,
        client_crl: str | Path | None = None,
        clients_required: bool = True,
        handshake_timeout: float = 10.0,
    ) -> ssl.SSLContext:
        """Return a context for ``app.run``, gunicorn or another server; it follows the files.

        Without files it serves the pair that was generated last, or the one in ``certs``. With ``client_ca`` it asks
        clients for certificates of these authorities; those in ``client_crl`` are refused.
        """
        from quadra_matrix.tls.context import ClientFiles, ServerFiles
        from quadra_matrix.tls.pairs import pair_in
        from quadra_matrix.tls.serving import ServingContext

        require((certificate is None) == (key is None), "key", key, "given together with the certificate")
        generated = pair_in(self._cert_dir)
        require(client_ca is not None or client_crl is None, "client_crl", client_crl, "given with client_ca alone")
        revoked = None if client_crl is None else Path(client_crl)
        clients = None if client_ca is None else ClientFiles(Path(client_ca), revoked, clients_required)
        files = ServerFiles(Path(certificate or generated.certificate), Path(key or generated.key), clients)
        return ServingContext(files, handshake_timeout=handshake_timeout, clock=self._clock, hook=self._hook)


def setup_tls(
    app: Flask,
    *,
    headers: HeaderOptions = HeaderOptions(),  # noqa: B008 - frozen
    redirect: bool = True,
    https_port: int = 443,
    hosts: Collection[str] = (),
    plain_paths: Iterable[str] = PLAIN_PATHS,
    trusted_hops: int = 0,
    identify_clients: bool = False,
    client_header: str | None = None,
    challenges: CertificateStore | None = None,
    clock: Clock = SYSTEM_CLOCK,
    hook: Hook | None = None,
) -> TLSConfig:
    """Put the security headers on every answer of ``app`` and send plain HTTP to HTTPS.

    A header that the application sets itself is left alone. ``redirect`` answers 308, which keeps method and body, to
    ``https_port`` of the host that was asked for, one of ``hosts`` if they are given; ``plain_paths`` are prefixes that
    are served over HTTP. ``trusted_hops`` is the exact number of proxies in front whose ``X-Forwarded-*`` are believed:
    one too many lets clients choose their address. Templates get ``csp_nonce()``.

    ``identify_clients`` sets ``g.client_identity`` for each request: who the verified certificate of its client is for,
    None without one. ``client_header`` names the header in which the trusted proxies pass it on; they must set it on
    every request, or remove it. ``challenges`` holds what a certificate authority is answered, whoever orders.
    """
    require(trusted_hops >= 0, "trusted_hops", trusted_hops, "0 or more")
    require(0 < https_port < 65536, "https_port", https_port, "a port")
    require(client_header is None or trusted_hops > 0, "client_header", client_header, "given with trusted_hops alone")
    if identify_clients or client_header is not None:
        _identify_clients(app, client_header)
    answering = ChallengeLayer(app.wsgi_app, challenges)
    to_https = _Redirect(https_port, tuple(hosts), tuple(plain_paths)) if redirect else None
    layer: WSGIApplication = _Layer(answering, SecurityHeaders(headers), to_https)
    if trusted_hops:
        layer = ProxyFix(layer, x_for=trusted_hops, x_proto=trusted_hops, x_host=trusted_hops)
    app.wsgi_app = layer  # type: ignore[method-assign, assignment]
    app.add_template_global(csp_nonce)
    return TLSConfig(challenges=answering, clock=clock, hook=hook)


def _identify_clients(app: Flask, header: str | None) -> None:
    """Set ``g.client_identity`` before each request."""
    from quadra_matrix.tls.clients import from_header, identity

    def certificate(environ: WSGIEnvironment) -> bytes | None:
        passed = environ.get(f"HTTP_{header.upper().replace('-', '_')}") if header else None
        return from_header(passed) if passed else _presented(environ)

    @app.before_request
    def identify() -> None:
        try:
            held = certificate(request.environ)
            g.client_identity = identity(held) if held else None
        except ValueError as broken:
            raise BadRequest("the proxy in front passed on what is no certificate") from broken


def _presented(environ: WSGIEnvironment) -> bytes | None:
    """Return the certificate, in DER, of a client that the server itself has verified."""
    if told := environ.get(CLIENT_CERTIFICATE):
        return base64.b64decode(told)
    if told := environ.get("SSL_CLIENT_CERT"):  # Werkzeug's server
        return ssl.PEM_cert_to_DER_cert(told)
    connection = environ.get("gunicorn.socket")
    return connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None


def csp_nonce() -> str:
    """Return the nonce of the answer to the current request, for ``<script nonce="...">``."""
    asked = request._get_current_object()  # type: ignore[attr-defined]  # the proxy would cost four times as much
    return nonce_of(asked.environ)


class _Layer:
    """Add what an answer lacks, whoever gave it: a view, an error handler or the redirect."""

    def __init__(self, app: WSGIApplication, headers: SecurityHeaders, redirect: _Redirect | None) -> None:
        self._app, self._headers, self._redirect = app, headers, redirect

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does, or send the client to HTTPS, with more headers."""
        is_https = environ["wsgi.url_scheme"] == "https"
        complete = self._headers.completed

        def start(status: str, headers: list[Header], exc_info: Any = None) -> Any:
            return start_response(status, complete(headers, status, environ, is_https), exc_info)

        if is_https or self._redirect is None or self._redirect.leaves(environ):
            return self._app(environ, start)
        return self._redirect(environ, start)


class _Redirect:
    """Send plain HTTP to HTTPS, with the method and the body."""

    def __init__(self, port: int, hosts: tuple[str, ...], plain_paths: tuple[str, ...]) -> None:
        self._port, self._hosts, self._plain_paths = port, hosts, plain_paths

    def leaves(self, environ: WSGIEnvironment) -> bool:
        """Tell whether a request is answered over plain HTTP."""
        path: str = environ.get("PATH_INFO", "")
        return path.startswith(self._plain_paths)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 308, or 400 for a host that is not ours."""
        return self._answer(environ)(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        try:
            host = _PORT.sub("", get_host(environ, self._hosts))
        except SecurityError:
            host = ""
        if not host:
            return Response("ask for a host of this service, over https\n", 400, mimetype="text/plain")
        port = "" if self._port == 443 else f":{self._port}"
        answer = Response("this service speaks https\n", 308, mimetype="text/plain")
        answer.headers["Location"] = f"https://{host}{port}{_target_of(environ)}"
        return answer


def _target_of(environ: WSGIEnvironment) -> str:
    """Return path and query as they were asked for."""
    path = quote(
        (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1"), safe="/!$&'()*+,:;=@~"
    )
    query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe="/!$&'()*+,:;=@~?%[]")
    return f"{path or '/'}?{query}" if query else path or "/"
