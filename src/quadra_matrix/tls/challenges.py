"""Answers to the challenge http-01: a WSGI layer, and a small server for a machine whose port 80 is free."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from quadra_matrix.errors import AddressInUse, QuadraError
from quadra_matrix.store.certificates import CertificateStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

PREFIX = "/.well-known/acme-challenge/"
"""Where authorities ask, over plain HTTP (RFC 8555, 8.3)."""

PATIENCE = 10.0
"""Seconds that the small server waits for the next part of a request."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")


def entry_of(token: str) -> str:
    """Return the name of the entry that holds the answer to a challenge."""
    return f"answer-{token}"


class ChallengeLayer:
    """Answer for an authority what ``store`` holds, whichever process ordered; leave the rest to the application.

    Without a store it leaves everything to the application.
    """

    def __init__(self, app: WSGIApplication, store: CertificateStore | None = None) -> None:
        self._app = app
        self.store = store

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the text for the token, if there is one."""
        path = environ.get("PATH_INFO", "")
        if self.store is None or not path.startswith(PREFIX) or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self._app(environ, start_response)
        token = path[len(PREFIX) :]
        if not _TOKEN.fullmatch(token):
            return self._app(environ, start_response)
        try:
            text = self.store.read(entry_of(token))
        except QuadraError as failed:
            log.warning("a challenge was not answered: %s", failed)
            return _say(start_response, "503 Service Unavailable", b"try again\n")
        if text is None:
            return self._app(environ, start_response)
        return _say(start_response, "200 OK", text)


def nothing_here(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 404: the application of a server that only answers challenges."""
    return _say(start_response, "404 Not Found", b"only challenges of a certificate authority are answered here\n")


@contextlib.contextmanager
def answering(store: CertificateStore, port: int | None, address: str = "") -> Iterator[None]:
    """Answer challenges on ``port`` during the block; without a port do nothing. The block waits for no request."""
    if port is None:
        yield
        return
    with _Server(address, port) as server:
        server.set_app(ChallengeLayer(nothing_here, store))
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="acme-http", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(PATIENCE)


class _Request(WSGIRequestHandler):
    timeout = PATIENCE

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        log.debug("%s asked %r and got %s", self.address_string(), self.requestline, code)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Request, bind_and_activate=False)
        self.socket.close()
        both = not address and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both or ":" in address else socket.AF_INET
        try:
            self.socket = socket.create_server((address, port), family=family, dualstack_ipv6=both)
        except OSError as refused:
            raise AddressInUse(address or "*", port, refused.strerror or str(refused)) from refused
        self.server_name, self.server_port = address or "localhost", port
        self.setup_environ()


def _say(start_response: StartResponse, status: str, text: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("Cache-Control", "no-store")]
    start_response(status, headers)
    return [text]
