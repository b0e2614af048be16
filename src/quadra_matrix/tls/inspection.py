"""What a certificate file holds, and what is wrong with it."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.errors import CertificateRefused, MissingExtra
from quadra_matrix.tls.authority import at, general_name
from quadra_matrix.tls.renewal import renewal_time

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import AuthorityInformationAccessOID
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
except ImportError as missing:
    raise MissingExtra("cryptography", "tls") from missing


class Fault(enum.Enum):
    """What may be wrong with a certificate."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    WRONG_KEY = "wrong key"
    BROKEN_CHAIN = "broken chain"
    UNTRUSTED = "untrusted"
    WRONG_NAME = "wrong name"


@dataclass(frozen=True, slots=True)
class Found:
    """One fault, in words that name the value at fault."""

    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """A certificate and its faults. Times are seconds since the epoch, UTC."""

    subject: str
    issuer: str
    serial: str
    names: tuple[str, ...]
    key: str
    begins: float
    expires: float
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""
    chain: tuple[str, ...]
    """Subjects of the certificates that follow the first."""
    ocsp_urls: tuple[str, ...]
    faults: tuple[Found, ...]

    @property
    def renew_at(self) -> float:
        """Return when to renew: at two thirds of the life, at half if it is under ten days."""
        return renewal_time(self.begins, self.expires)


def inspect_pair(
    certificate: Path, key: Path | None = None, *, names: Sequence[str] = (), roots: Path | None = None, now: float
) -> Inspection:
    """Return what the PEM file ``certificate`` holds, checked against its ``key``, ``names`` and ``roots`` if given.

    A file that is missing or is no certificate raises ``CertificateRefused``.
    """
    chain = read_certificates(certificate)
    leaf = chain[0]
    faults = [*_faults_of_time(leaf, now), *_faults_of_chain(chain), *_faults_of_names(leaf, names)]
    if key is not None:
        faults += _faults_of_key(leaf, key)
    if roots is not None:
        faults += _faults_of_trust(chain, read_certificates(roots), now)
    return Inspection(
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        names=names_of(leaf),
        key=_describe_key(leaf),
        begins=leaf.not_valid_before_utc.timestamp(),
        expires=leaf.not_valid_after_utc.timestamp(),
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        chain=tuple(following.subject.rfc4514_string() for following in chain[1:]),
        ocsp_urls=_ocsp_urls(leaf),
        faults=tuple(faults),
    )


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, in order; there is at least one."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as unreadable:
        raise CertificateRefused(path, f"it cannot be read ({unreadable.strerror})") from unreadable
    except ValueError as broken:
        raise CertificateRefused(path, "it holds no certificate in PEM") from broken


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the host names and addresses of a certificate."""
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in held if isinstance(name, x509.DNSName | x509.IPAddress))


def covers_name(held: Iterable[str], name: str) -> bool:
    """Tell whether a certificate for the names ``held`` is good for ``name``; a wildcard stands for one label."""
    wanted = str(general_name(name).value)
    parent = "*." + wanted.partition(".")[2]
    return any(known.lower() in (wanted, parent) for known in held)


def _faults_of_time(leaf: x509.Certificate, now: float) -> list[Found]:
    if leaf.not_valid_after_utc <= at(now):
        return [Found(Fault.EXPIRED, f"it expired on {_day(leaf.not_valid_after_utc)}")]
    if leaf.not_valid_before_utc > at(now):
        return [Found(Fault.NOT_YET_VALID, f"it begins on {_day(leaf.not_valid_before_utc)}")]
    return []


def _faults_of_chain(chain: Sequence[x509.Certificate]) -> list[Found]:
    for place, (below, above) in enumerate(itertools.pairwise(chain), start=1):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature):
            return [Found(Fault.BROKEN_CHAIN, f"certificate {place} is not signed by certificate {place + 1}")]
    return []


def _faults_of_names(leaf: x509.Certificate, names: Sequence[str]) -> list[Found]:
    held = names_of(leaf)
    absent = [name for name in names if not covers_name(held, name)]
    told = ", ".join(held) or "no name at all"
    return [Found(Fault.WRONG_NAME, f"it is not for {name}; it is for {told}") for name in absent]


def _faults_of_key(leaf: x509.Certificate, path: Path) -> list[Found]:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as broken:
        raise CertificateRefused(path, "it holds no unencrypted private key in PEM") from broken
    is_ours = key.public_key() == leaf.public_key()
    return [] if is_ours else [Found(Fault.WRONG_KEY, f"{path.name} is the key of another certificate")]


def _faults_of_trust(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: float) -> list[Found]:
    held = names_of(chain[0])
    if not held:
        return [Found(Fault.UNTRUSTED, "a certificate without names cannot be verified")]
    verifier = PolicyBuilder().store(Store(list(roots))).time(at(now)).build_server_verifier(general_name(held[0]))
    try:
        verifier.verify(chain[0], list(chain[1:]))
    except VerificationError as refused:
        return [Found(Fault.UNTRUSTED, f"the roots do not vouch for it: {refused}")]
    return []


def _ocsp_urls(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    ocsp = AuthorityInformationAccessOID.OCSP
    return tuple(str(entry.access_location.value) for entry in access if entry.access_method == ocsp)


def _describe_key(leaf: x509.Certificate) -> str:
    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def _day(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
