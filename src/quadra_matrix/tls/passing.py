"""What a front tells the server behind it about a connection: one header field, and the layer that reads it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quadra_matrix.tls.heads import named

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FIELD = "X-Quadra-Front"
OF_CLIENTS = named(FIELD)
"""The same field in a request: only a client that pretends to be the front sends it."""

CLIENT_CERTIFICATE = "quadra.client_certificate"
"""Where the WSGI environment holds the certificate of a verified client: base64 of DER."""

_VARIABLE = f"HTTP_{FIELD.upper().replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the requests of one connection come from."""

    address: str
    port: int
    is_https: bool
    certificate: bytes | None = None
    """The client's, in DER, once it has been verified."""

    def field(self) -> bytes:
        """Return the header field that tells it, with its end."""
        scheme = "https" if self.is_https else "http"
        held = f" {base64.b64encode(self.certificate).decode()}" if self.certificate else ""
        return f"{FIELD}: {scheme} {self.address} {self.port}{held}\r\n".encode()


def behind_front(app: WSGIApplication) -> WSGIApplication:
    """Return ``app`` as the front's clients see it: their addresses, their scheme, their certificates.

    Only for a server that nobody but the front can reach: whoever can may say what it likes about itself.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        scheme, address, port, *certificate = environ.pop(_VARIABLE).split(" ")
        environ["wsgi.url_scheme"], environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scheme, address, port
        if certificate:
            environ[CLIENT_CERTIFICATE] = certificate[0]
        return app(environ, start_response)

    return answer
