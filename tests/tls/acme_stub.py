"""A small, strict certificate authority: short lives, renewal windows, Retry-After, refusals on request.

It verifies every signature, nonce, URL and state, and fetches http-01 answers over HTTP as a real one does.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import http.client
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from quadra_matrix.clock import Clock
from quadra_matrix.tls.authority import local_authority
from quadra_matrix.tls.challenges import PREFIX

Json = dict[str, Any]


class Refusal(Exception):
    def __init__(self, status: int, kind: str, detail: str, retry_after: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.retry_after = status, kind, detail, retry_after


@dataclass
class StubAuthority:
    """What the server holds; tests read and change it between requests."""

    folder: Path
    clock: Clock
    life: float = 6 * 86400.0
    """Seconds that a certificate lives."""
    validates_on: int | None = None
    """Port on which http-01 answers are fetched; None believes everybody."""
    offers_renewal_info: bool = True
    window: tuple[float, float] | None = None
    renewal_retry_after: str | None = None
    explanation: str | None = None
    polls_until_issued: int = 0
    poll_retry_after: str | None = None
    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    """Resource -> what its next requests are refused with."""
    spoils_certificate: bool = False
    knows_names: bool = False
    """Names are proved already: authorizations are used again."""
    offers_http: bool = True
    fails_orders: bool = False
    """An order fails after it was finalized."""
    url: str = ""
    seen: list[tuple[str, Json]] = field(default_factory=list)
    """Resource and payload of every request that was accepted as well signed."""
    accounts: dict[str, Json] = field(default_factory=dict)
    orders: dict[str, Json] = field(default_factory=dict)
    issued: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Renewal name of each certificate -> its account, and the order that replaced it."""
    nonces: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def asked(self, resource: str) -> list[Json]:
        """Return the payloads of all requests for a resource."""
        return [payload for name, payload in self.seen if name == resource]

    def refuse(self, resource: str, status: int, kind: str, detail: str, retry_after: str | None = None) -> None:
        """Refuse the next request for a resource."""
        self.refusals.setdefault(resource, []).append(Refusal(status, kind, detail, retry_after))

    def nonce(self) -> str:
        made = _encoded(hashlib.sha256(str(next(self._numbers)).encode()).digest())
        self.nonces.add(made)
        return made

    # Requests without a signature

    def directory(self) -> Json:
        told = {name: f"{self.url}/{name}" for name in ("newNonce", "newAccount", "newOrder", "revokeCert")}
        renewal = {"renewalInfo": f"{self.url}/renewalInfo"} if self.offers_renewal_info else {}
        return {**told, **renewal, "meta": {"termsOfService": f"{self.url}/terms"}}

    def renewal_info(self, name: str) -> tuple[Json, dict[str, str]]:
        _must(self.offers_renewal_info and name in self.issued, 404, "malformed", f"{name} is no certificate of ours")
        assert self.window is not None
        start, end = (dt.datetime.fromtimestamp(at, dt.UTC).isoformat() for at in self.window)
        told: Json = {"suggestedWindow": {"start": start, "end": end}}
        if self.explanation:
            told["explanationURL"] = self.explanation
        return told, {"Retry-After": self.renewal_retry_after} if self.renewal_retry_after else {}

    # Signed requests

    def verified(self, url: str, body: bytes) -> tuple[Json, str, Json]:
        """Return the protected header, the account and the payload of a request."""
        told = json.loads(body)
        header = json.loads(_decoded(told["protected"]))
        _must(header["nonce"] in self.nonces, 400, "badNonce", "this nonce was used, or is none")
        self.nonces.remove(header["nonce"])
        _must(header["url"] == url, 400, "unauthorized", "it was signed for another URL")
        _must(("jwk" in header) != ("kid" in header), 400, "malformed", "either a key or an account")
        _must(header["alg"] == "ES256", 400, "badSignatureAlgorithm", "ES256 alone")
        _must(("jwk" in header) == url.endswith("/newAccount"), 400, "malformed", "a key makes accounts, no more")
        jwk = header["jwk"] if "jwk" in header else self.accounts.get(header["kid"], {}).get("jwk")
        _must(jwk is not None, 400, "accountDoesNotExist", "no such account")
        signature = _decoded(told["signature"])
        numbers = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        signed = f"{told['protected']}.{told['payload']}".encode()
        _public(jwk).verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
        payload = json.loads(_decoded(told["payload"])) if told["payload"] else None
        return header, header.get("kid", ""), payload

    def new_account(self, header: Json, payload: Json) -> tuple[int, Json, dict[str, str]]:
        place = f"{self.url}/account/{_thumbprint(header['jwk'])}"
        if place in self.accounts:
            return 200, {"status": "valid"}, {"Location": place}
        _must(not payload.get("onlyReturnExisting"), 400, "accountDoesNotExist", "no account has this key")
        _must(payload.get("termsOfServiceAgreed") is True, 403, "userActionRequired", "agree to the terms")
        self.accounts[place] = {"jwk": header["jwk"], "contact": payload["contact"]}
        return 201, {"status": "valid"}, {"Location": place}

    def new_order(self, account: str, payload: Json) -> tuple[int, Json, dict[str, str]]:
        replaced = payload.get("replaces")
        if replaced is not None:
            _must(self.issued.get(replaced, ("",))[0] == account, 403, "unauthorized", "it replaces another's")
            _must(not self.issued[replaced][1], 409, "alreadyReplaced", "it was replaced before")
        place = f"{self.url}/order/{next(self._numbers)}"
        if replaced is not None:
            self.issued[replaced] = (account, place)
        tokens = {name["value"]: _encoded(hashlib.sha256(f"{place}{name}".encode()).digest())
                  for name in payload["identifiers"]}  # fmt: skip
        proved = dict.fromkeys(tokens, "valid") if self.knows_names else {}
        self.orders[place] = {"account": account, "tokens": tokens, "proved": proved, "polls": 0, "chain": None}
        return 201, self.told_of(place), {"Location": place}

    def told_of(self, place: str) -> Json:
        order = self.orders[place]
        states = set(order["proved"].values())
        status = "pending"
        if "invalid" in states:
            status = "invalid"
        elif order["chain"]:
            status = "valid" if order["polls"] > self.polls_until_issued else "processing"
        elif len(order["proved"]) == len(order["tokens"]):
            status = "ready"
        told: Json = {
            "status": status,
            "identifiers": [{"type": "dns", "value": name} for name in order["tokens"]],
            "authorizations": [f"{place}/authorization/{name}" for name in order["tokens"]],
            "finalize": f"{place}/finalize",
        }
        if status == "valid" and self.fails_orders:
            return {**told, "status": "invalid", "error": {"type": "about:blank", "title": "the CAA record forbids it"}}
        return {**told, "certificate": f"{place}/certificate"} if status == "valid" else told

    def poll(self, place: str) -> tuple[int, Json, dict[str, str]]:
        self.orders[place]["polls"] += bool(self.orders[place]["chain"])
        told = self.told_of(place)
        asks = self.poll_retry_after if told["status"] == "processing" else None
        return 200, told, {"Retry-After": asks} if asks else {}

    def authorization(self, place: str, name: str) -> Json:
        order = self.orders[place]
        status = order["proved"].get(name, "pending")
        challenge: Json = {
            "type": "http-01", "url": f"{place}/challenge/{name}", "token": order["tokens"][name], "status": status,
        }  # fmt: skip
        if status == "invalid":
            challenge["error"] = {"type": "urn:ietf:params:acme:error:connection", "detail": "no answer came"}
        other = {"type": "dns-01", "url": f"{place}/other/{name}", "token": order["tokens"][name], "status": "pending"}
        return {
            "status": status,
            "identifier": {"type": "dns", "value": name},
            "challenges": [other, challenge][: 1 + self.offers_http],
        }

    def prove(self, place: str, name: str, account: str) -> None:
        order = self.orders[place]
        expected = f"{order['tokens'][name]}.{_thumbprint(self.accounts[account]['jwk'])}"
        is_proved = self.validates_on is None or self.fetched(name, order["tokens"][name]) == expected
        order["proved"][name] = "valid" if is_proved else "invalid"

    def fetched(self, name: str, token: str) -> str | None:
        assert self.validates_on is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.validates_on, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", PREFIX + token, headers={"Host": name})
            return connection.getresponse().read().decode()
        return None

    def finalize(self, place: str, payload: Json) -> None:
        _must(self.told_of(place)["status"] == "ready", 403, "orderNotReady", "not every name is proved")
        order = self.orders[place]
        request = x509.load_der_x509_csr(_decoded(payload["csr"]))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        _must(set(names.get_values_for_type(x509.DNSName)) == set(order["tokens"]), 400, "badCSR", "other names")
        order["chain"] = self.sign(request.public_key(), names, order["account"])

    def sign(self, key: Any, names: x509.SubjectAlternativeName, account: str) -> str:
        authority = local_authority(self.folder, clock=self.clock)
        begins = dt.datetime.fromtimestamp(int(self.clock.now()), dt.UTC)
        public = authority.key.public_key()
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(authority.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + dt.timedelta(seconds=self.life))
            .add_extension(names, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
            .sign(authority.key, hashes.SHA256())
        )
        der = leaf.public_bytes(serialization.Encoding.DER)
        at = 13  # two headers of four bytes, the version in five, then the serial as DER has it
        identifier = x509.SubjectKeyIdentifier.from_public_key(public).digest
        self.issued[f"{_encoded(identifier)}.{_encoded(der[at + 2 : at + 2 + der[at + 1]])}"] = (account, "")
        if self.spoils_certificate:
            return "-----BEGIN CERTIFICATE-----\n"
        return leaf.public_bytes(serialization.Encoding.PEM).decode()


@contextlib.contextmanager
def stub_authority(folder: Path, clock: Clock, **options: Any) -> Iterator[StubAuthority]:
    """Yield the authority; its directory is ``url + "/directory"``."""
    folder.mkdir(mode=0o700)
    stub = StubAuthority(folder, clock, **options)

    class Request(_Request):
        authority = stub

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield stub
        server.shutdown()
        thread.join(30)


class _Request(BaseHTTPRequestHandler):
    authority: StubAuthority

    def do_GET(self) -> None:
        stub = self.authority
        resource, _, rest = self.path.strip("/").partition("/")
        try:
            self._refuse_on_request(resource)
            if resource == "directory":
                self._say(200, stub.directory())
            elif resource == "renewalInfo":
                stub.seen.append((resource, {"name": rest}))
                self._say(200, *stub.renewal_info(rest))
            else:
                raise Refusal(405, "malformed", "reading is a signed request too")
        except Refusal as refused:
            self._refuse(refused)

    def do_HEAD(self) -> None:
        self._say(200, None)

    def do_POST(self) -> None:
        stub = self.authority
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            _must(self.headers["Content-Type"] == "application/jose+json", 415, "malformed", "wrong content type")
            header, account, payload = stub.verified(stub.url + self.path, body)
            place, resource, name = self._parts()
            self._refuse_on_request(resource)
            stub.seen.append((resource, payload))
            self._answer(resource, place, name, header, account, payload)
        except Refusal as refused:
            self._refuse(refused)

    def _parts(self) -> tuple[str, str, str]:
        """Return the address of the order, the resource and the name in it."""
        parts = self.path.strip("/").split("/")
        if parts[0] != "order":
            return "", parts[0], ""
        parts += ["", ""]
        return f"{self.authority.url}/order/{parts[1]}", parts[2] or "order", parts[3]

    def _answer(self, resource: str, place: str, name: str, header: Json, account: str, payload: Any) -> None:
        stub = self.authority
        is_reading = resource in {"order", "authorization", "certificate"}
        _must((payload is None) == is_reading, 400, "malformed", "reading has no payload, everything else has one")
        _must(not place or stub.orders[place]["account"] == account, 403, "unauthorized", "another's order")
        if resource == "newAccount":
            self._say(*stub.new_account(header, payload))
        elif resource == "account":
            stub.accounts[account].update(payload)
            self._say(200, {"status": "valid"})
        elif resource == "newOrder":
            self._say(*stub.new_order(account, payload))
        elif resource == "order":
            self._say(*stub.poll(place))
        elif resource == "authorization":
            self._say(200, stub.authorization(place, name))
        elif resource == "challenge":
            _must(payload == {}, 400, "malformed", "an answered challenge is an empty object")
            stub.prove(place, name, account)
            self._say(200, stub.authorization(place, name)["challenges"][1])
        elif resource == "finalize":
            stub.finalize(place, payload)
            self._say(200, stub.told_of(place))
        else:
            self._say(200, stub.orders[place]["chain"])

    def _refuse_on_request(self, resource: str) -> None:
        waiting = self.authority.refusals.get(resource)
        if waiting:
            raise waiting.pop(0)

    def _refuse(self, refused: Refusal) -> None:
        told = {"type": f"urn:ietf:params:acme:error:{refused.kind}", "detail": refused.detail}
        asks = {"Retry-After": refused.retry_after} if refused.retry_after else {}
        self._say(refused.status, told, {**asks, "Content-Type": "application/problem+json"})

    def _say(self, status: int, told: Json | str | None, headers: dict[str, str] | None = None) -> None:
        content = b"" if told is None else told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(status)
        kind = "application/pem-certificate-chain" if isinstance(told, str) else "application/json"
        for name, value in {"Content-Type": kind, "Replay-Nonce": self.authority.nonce(), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _must(holds: bool, status: int, kind: str, detail: str) -> None:
    if not holds:
        raise Refusal(status, kind, detail)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _thumbprint(jwk: Json) -> str:
    told = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return _encoded(hashlib.sha256(told.encode()).digest())


def _public(jwk: Json) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_decoded(jwk[name]), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
