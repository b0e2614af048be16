"""The conversation with a certificate authority (ACME, RFC 8555; renewal information, RFC 9773).

``acme`` signs requests, keeps nonces and knows the messages. The order of the requests and every wait are ours: its
client polls by the wall clock without ``Retry-After``, and sends no ``replaces``.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from quadra_matrix import __version__
from quadra_matrix.clock import Clock
from quadra_matrix.errors import CertificateNotIssued, InvalidValue, MissingExtra, TermsNotAgreed
from quadra_matrix.tls.ordering import OrderOptions
from quadra_matrix.tls.renewal import Window

try:
    import requests
    from acme import challenges, errors, messages
    from acme.client import ClientNetwork
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from josepy.errors import Error as JoseError
    from josepy.interfaces import JSONDeSerializable
    from josepy.json_util import field
    from josepy.jwa import ES256
    from josepy.jwk import JWKEC
except ImportError as missing:
    raise MissingExtra("acme", "tls") from missing

from quadra_matrix.tls.transport import PATIENCE, Transport

CONVERSATION = 180.0
"""Seconds that a whole order may take."""

FRESH_NONCES = 10
"""Times that a request is sent again because the authority did not like its nonce."""

FIRST_POLL, LONGEST_POLL = 0.5, 10.0
"""Seconds between two looks at an order if the authority does not say."""

UNDER_WAY = frozenset({messages.STATUS_PENDING, messages.STATUS_PROCESSING})

Publish = Callable[[str, str], None]
"""Makes the text available to the authority under the token of a challenge."""

Settled = TypeVar("Settled", messages.Authorization, messages.Order)


@dataclass(frozen=True, slots=True)
class Advice:
    """What the authority says about the renewal of one certificate."""

    window: Window | None
    ask_in: float | None
    """Seconds after which to ask again, if it says so."""
    explanation: str | None = None
    """Address of a page, given when the window is unusual."""


class _Order(messages.NewOrder):
    """A new order that names the certificate it replaces (RFC 9773, 5)."""

    replaces: str | None = field("replaces", omitempty=True)


class Conversation:
    """Speak with one authority under one account key, until a deadline. Not for several threads."""

    def __init__(self, options: OrderOptions, account_key: bytes, *, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._key = JWKEC.load(account_key)
        self._net = ClientNetwork(
            self._key, alg=ES256, timeout=round(PATIENCE), user_agent=f"quadra-matrix/{__version__}"
        )
        self._transport = Transport(roots=options.roots, clock=clock, seconds=CONVERSATION)
        for scheme in ("https://", "http://"):
            self._net.session.mount(scheme, self._transport)
        with self._translated():
            self._directory = messages.Directory.from_json(self._net.get(options.directory).json())

    def close(self) -> None:
        """Close the connections."""
        self._net.session.close()

    def sign_in(self, *, known_email: str | None) -> None:
        """Use the account of the key; make it if the terms are agreed to. ``known_email`` is what it was made with."""
        with self._translated():
            contact = (f"mailto:{self._options.email}",)
            if self._options.agree_to_terms:
                asked = messages.NewRegistration(contact=contact, terms_of_service_agreed=True)
            else:
                asked = messages.NewRegistration(only_return_existing=True)
            try:
                answer = self._post(self._directory["newAccount"], asked)
            except messages.Error as refused:
                if refused.code == "accountDoesNotExist":
                    terms = self._directory["meta"].terms_of_service
                    raise TermsNotAgreed(self._options.domain, terms or self._options.directory) from refused
                raise
            account = answer.headers["Location"]
            self._net.account = messages.RegistrationResource(uri=account, body=messages.Registration())
            if known_email not in (None, self._options.email):
                self._post(account, messages.UpdateRegistration(contact=contact))

    def advice(self, certificate: x509.Certificate) -> Advice | None:
        """Return when the authority wants ``certificate`` renewed; None if it has no opinion on renewals."""
        with self._translated():
            try:
                base: str = self._directory["renewalInfo"]
            except KeyError:
                return None
            answer = self._net.get(f"{base.rstrip('/')}/{certificate_id(certificate)}")
            told = answer.json()
            suggested = messages.RenewalInfo.from_json(told).suggested_window
            try:
                window = Window(suggested.start.timestamp(), suggested.end.timestamp())
            except InvalidValue:  # a window that ends before it begins counts as none (RFC 9773, 4.2)
                window = None
            explanation = told.get("explanationURL")
            return Advice(window, self._transport.retry_after, explanation if isinstance(explanation, str) else None)

    def order(self, key: ec.EllipticCurvePrivateKey, publish: Publish, replaces: x509.Certificate | None) -> bytes:
        """Return a new certificate for ``key``, followed by its intermediates, as PEM."""
        with self._translated():
            opened = self._open(replaces)
            place: str = opened.headers["Location"]
            order = messages.Order.from_json(opened.json())
            for each in order.authorizations:
                self._answer(each, publish)
            for each in order.authorizations:
                self._require_proof(self._settled(each, messages.Authorization))
            if order.status == messages.STATUS_PENDING:
                order = self._settled(place, messages.Order)
            if order.status == messages.STATUS_READY:
                request = messages.CertificateRequest(csr=_signing_request(self._options.names, key))
                self._post(order.finalize, request)
                order = self._settled(place, messages.Order)
            if order.status != messages.STATUS_VALID or not order.certificate:
                raise self._refused(_words(order.error) if order.error else "the order was refused without a reason")
            chain: bytes = self._post(order.certificate).content
            return chain

    def _open(self, replaces: x509.Certificate | None) -> requests.Response:
        """Post the order. An authority that holds the certificate for replaced already gets an order without it."""
        names = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in self._options.names]
        asked: dict[str, Any] = {"identifiers": names, "profile": self._options.profile}
        has_renewal_info = "renewalInfo" in self._directory.to_partial_json()
        if replaces is not None and has_renewal_info:
            with contextlib.suppress(errors.ConflictError):
                return self._post(self._directory["newOrder"], _Order(**asked, replaces=certificate_id(replaces)))
        return self._post(self._directory["newOrder"], _Order(**asked))

    def _answer(self, place: str, publish: Publish) -> None:
        """Publish what proves one name, and say so."""
        authorization = messages.Authorization.from_json(self._post(place).json())
        if authorization.status != messages.STATUS_PENDING:
            return
        for offered in authorization.challenges:
            if isinstance(offered.chall, challenges.HTTP01):
                publish(offered.chall.encode("token"), offered.chall.key_authorization(self._key))
                if offered.status == messages.STATUS_PENDING:
                    self._post(offered.uri, offered.chall.response(self._key))
                return
        raise self._refused(f"no http-01 challenge is offered for {authorization.identifier.value}")

    def _require_proof(self, authorization: messages.Authorization) -> None:
        if authorization.status == messages.STATUS_VALID:
            return
        found = [_words(each.error) for each in authorization.challenges if each.error is not None]
        reason = "; ".join(found) or f"the authorization is {authorization.status.name}"
        raise self._refused(f"{authorization.identifier.value} was not validated: {reason}")

    def _settled(self, place: str, kind: type[Settled]) -> Settled:
        """Return what stands at ``place`` once nothing more will happen to it by itself."""
        pause = FIRST_POLL
        while True:
            found: Settled = kind.from_json(self._post(place).json())
            if found.status not in UNDER_WAY:
                return found
            asked = self._transport.retry_after
            wait = pause if asked is None else max(asked, FIRST_POLL)
            if wait > self._transport.left:
                raise CertificateNotIssued(self._options.domain, "the authority is not done in time", asked)
            self._clock.sleep(wait)
            pause = min(LONGEST_POLL, pause * 1.5)

    def _post(self, place: str, message: JSONDeSerializable | None = None) -> requests.Response:
        """Return the answer to a signed request; without a message it only reads."""
        for _ in range(FRESH_NONCES):
            try:
                return self._net.post(place, message, new_nonce_url=self._directory["newNonce"])
            except messages.Error as refused:
                if refused.code != "badNonce":
                    raise
        raise self._refused("the authority refused every nonce it gave")

    def _refused(self, reason: str) -> CertificateNotIssued:
        return CertificateNotIssued(self._options.domain, reason, self._transport.retry_after)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what an authority, or the way to it, can do wrong into an error of ours."""
        try:
            yield
        except messages.Error as refused:
            raise self._refused(_words(refused)) from refused
        except requests.RequestException as broken:
            raise self._refused(f"{self._options.directory} cannot be reached: {broken}") from broken
        except (errors.Error, JoseError, KeyError, ValueError) as odd:
            if isinstance(odd, InvalidValue):
                raise
            raise self._refused(f"the authority's answer makes no sense: {odd or type(odd).__name__}") from odd


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a key for an account or a certificate: ECDSA P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_id(certificate: x509.Certificate) -> str:
    """Return the name that renewal information has for a certificate (RFC 9773, 4.1)."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    serial = certificate.serial_number
    # As in DER: one bit more than the number has, for the sign.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part or b"").decode().rstrip("=") for part in (authority, number))


def _signing_request(names: Sequence[str], key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(wanted, critical=False).sign(key, hashes.SHA256())


def _words(problem: messages.Error) -> str:
    """Return a problem document of the authority in one line."""
    parts = [problem.detail or problem.title or problem.typ]
    parts += [_words(each) for each in problem.subproblems or ()]
    return " ".join("; ".join(parts).split())
