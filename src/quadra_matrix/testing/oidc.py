"""A small OpenID Connect issuer for tests, over HTTP on this machine; strict about what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import MissingExtra, require

try:
    from joserfc import jwk, jws
except ImportError as missing:
    raise MissingExtra("joserfc", "oidc") from missing

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"

Key = jwk.RSAKey | jwk.ECKey


class FakeIssuer:
    """An issuer with keys that a test rotates, and troubles that a test chooses. May be shared between threads."""

    def __init__(self, url: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.url, self._clock = url, clock
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.status = 200
        self.told: dict[str, Any] = {}
        """What the discovery document says instead of the truth."""
        self.keys_document: bytes | None = None
        """What is answered for the keys instead of the truth."""
        self.goes_on = threading.Event()
        """Answers wait for it; clear it to hang."""
        self.goes_on.set()
        self.signing: Key = jwk.ECKey.generate_key("P-256", {"kid": "first", "use": "sig", "alg": "ES256"})
        self.published: list[Key] = [self.signing]

    def rotate(self, kid: str, *, kind: str = "EC", keep: bool = True) -> Key:
        """Sign with a new key from now on; publish it, and the earlier ones with ``keep``."""
        require(kind in ("EC", "RSA"), "kind", kind, "EC or RSA")
        if kind == "EC":
            self.signing = jwk.ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})
        else:
            self.signing = jwk.RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})
        self.published = [*(self.published if keep else []), self.signing]
        return self.signing

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return the claims of a good token for ``quadra``, with others in their place; None leaves one out."""
        now = int(self._clock.now())
        good = {"iss": self.url, "aud": "quadra", "sub": "ada", "iat": now, "exp": now + 600, "scope": "read"}
        return {name: value for name, value in (good | claims).items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a token with these claims, signed with the current key."""
        algorithm = "ES256" if isinstance(self.signing, jwk.ECKey) else "RS256"
        head = {"alg": algorithm, "kid": self.signing.kid, **(header or {})}
        payload = json.dumps(self.claims(**claims)).encode()
        return jws.serialize_compact(head, payload, self.signing, algorithms=[str(head["alg"])])

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return what is answered to a GET of a path."""
        self.asked.append(path)
        self.goes_on.wait(30)
        if path == DISCOVERY:
            told = {"issuer": self.url, "jwks_uri": self.url + KEYS, **self.told}
            return self.status, json.dumps(told).encode()
        if path == KEYS:
            public = {"keys": [key.as_dict(private=False) for key in self.published]}
            return self.status, json.dumps(public).encode() if self.keys_document is None else self.keys_document
        return 404, b"{}"


@contextmanager
def fake_issuer(clock: Clock = SYSTEM_CLOCK) -> Iterator[FakeIssuer]:
    """Yield an issuer that answers on a free port of this machine until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer as the issuer does."""
            status, body = issuer.answer(self.path)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", issuer.url + KEYS)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = FakeIssuer(f"http://127.0.0.1:{server.server_port}", clock)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
