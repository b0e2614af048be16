"""Certificates of clients: what one says about itself, also one that was refused.

Python hides the certificate of a client whose verification failed. The handshake's own message holds it: ``witness``
keeps that of each connection, and the refusal can say whom it refused. OpenSSL does all the verification.
"""

from __future__ import annotations

import base64
import functools
import re
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from quadra_matrix.errors import MissingExtra

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID
except ImportError as missing:
    raise MissingExtra("cryptography", "tls") from missing

NO_CERTIFICATE = "peer did not return a certificate"

_HANDSHAKE, _CERTIFICATE = 22, 11
"""Content type and message type of a Certificate message (RFC 8446, 5.1 and 4)."""
_HOOK = "_msg_callback"
"""Where ``ssl`` takes who hears of every message. Not public; without it a refusal does not say whom it refused."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who a verified client is."""

    name: str
    """Common name; empty if the certificate has none."""
    subject: str
    """The whole distinguished name (RFC 4514)."""
    issuer: str
    serial: str
    """Hexadecimal."""
    names: tuple[str, ...]
    """Subject alternative names: hosts, addresses, mail addresses, URIs."""
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""
    expires: float
    """Seconds since the epoch."""


class ClientRefused(ssl.SSLError):
    """The handshake failed because of the client's certificate, or for want of one."""

    def __init__(self, reason: str, certificate: bytes | None) -> None:
        super().__init__(ssl.SSLErrorNumber.SSL_ERROR_SSL, f"the client's certificate was refused: {reason}")
        self.words, self.certificate = reason, certificate


class WitnessedObject(ssl.SSLObject):
    """A connection of an event loop whose refusal says whom it refused."""

    presented: bytes | None = None

    def do_handshake(self) -> None:
        """Do the handshake; raise ``ClientRefused`` where the client is at fault."""
        try:
            super().do_handshake()
        except ssl.SSLError as failed:
            raise refusal(failed, self.presented) from failed


def witness(context: ssl.SSLContext) -> None:
    """Have each connection of ``context`` keep the certificate that its client presents, in ``presented``."""

    def heard(connection: Any, direction: str, version: int, content: int, message: int, content_bytes: bytes) -> None:
        if direction == "read" and content == _HANDSHAKE and message == _CERTIFICATE:
            connection.presented = _first_of(content_bytes, is_1_3=version == ssl.TLSVersion.TLSv1_3)

    if hasattr(context, _HOOK):
        setattr(context, _HOOK, heard)
    context.sslobject_class = WitnessedObject


def refusal(failed: ssl.SSLError, presented: bytes | None) -> ssl.SSLError:
    """Return ``failed``, as a ``ClientRefused`` if the client's certificate is the reason."""
    if isinstance(failed, ssl.SSLCertVerificationError):
        return ClientRefused(failed.verify_message, presented)
    if failed.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return ClientRefused(NO_CERTIFICATE, None)
    return failed


def _first_of(message: bytes, *, is_1_3: bool) -> bytes | None:
    """Return the first certificate of a Certificate message (RFC 8446, 4.4.2; RFC 5246, 7.4.6)."""
    start = 4  # type and length of the message
    if is_1_3:
        start += 1 + message[start]  # the context of the request
    start += 3  # length of the list
    length = int.from_bytes(message[start : start + 3], "big")
    return message[start + 3 : start + 3 + length] or None


@functools.lru_cache(maxsize=512)
def identity(certificate: bytes) -> ClientIdentity:
    """Return who a certificate in DER is for. Raises ``ValueError`` for what is no certificate."""
    held = x509.load_der_x509_certificate(certificate)
    common = [str(part.value) for part in held.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return ClientIdentity(
        name=common[0] if common else "",
        subject=held.subject.rfc4514_string(),
        issuer=held.issuer.rfc4514_string(),
        serial=f"{held.serial_number:x}",
        names=_names(held),
        fingerprint=held.fingerprint(hashes.SHA256()).hex(),
        expires=held.not_valid_after_utc.timestamp(),
    )


def subject_and_serial(certificate: bytes | None) -> tuple[str, str]:
    """Return what a log says of a certificate that nobody has verified: one line of printable characters."""
    if certificate is None:
        return "none", "none"
    try:
        found = identity(certificate)
    except ValueError:
        return "unreadable", "unreadable"
    return found.subject.encode("unicode_escape").decode()[:200], found.serial


def from_header(value: str) -> bytes:
    """Return the certificate that a proxy passes on: RFC 9440, or PEM percent-encoded as nginx writes it.

    Raises ``ValueError`` for anything else.
    """
    if found := re.fullmatch(r":([A-Za-z0-9+/]+=*):", value):
        return base64.b64decode(found[1], validate=True)
    return ssl.PEM_cert_to_DER_cert(unquote_to_bytes(value).decode("ascii"))


def _names(held: x509.Certificate) -> tuple[str, ...]:
    try:
        names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)
