"""A local certificate authority: it signs the certificates of one machine or one team."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import CertificateRefused, MissingExtra, require
from quadra_matrix.tls.files import PRIVATE, PUBLIC, one_at_a_time, private_folder, write_whole

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as missing:
    raise MissingExtra("cryptography", "tls") from missing

CERTIFICATE, KEY = "ca.pem", "ca-key.pem"
LIFE = dt.timedelta(days=3650)
SKEW = dt.timedelta(minutes=5)
"""Certificates begin this much before now: the clocks of two machines differ."""

LOCAL_DOMAINS = ("localhost", "test", "internal", "local", "home.arpa")
"""Top-level names that nobody on the Internet can own (RFC 6761, 6762, 8375; .internal by ICANN)."""
LOOPBACKS = ("127.0.0.1", "::1")
_LOOPBACK_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_CLIENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@+-]{0,62}[A-Za-z0-9])?")
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that may sign others, its key, and the file that clients are told to trust."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


def local_authority(folder: Path, names: Iterable[str] = (), *, clock: Clock = SYSTEM_CLOCK) -> Authority:
    """Return the authority kept in ``folder``, made on first use.

    It can only sign for ``names``, for the top-level names that nobody owns, and for loopback addresses: whoever steals
    its key can impersonate nothing else to those who trust it.
    """
    with one_at_a_time(private_folder(folder)):
        if (folder / CERTIFICATE).exists():
            return read_authority(folder, now=clock.now())
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_sign(key, _constraints(names), at(clock.now()))
        write_whole(folder / KEY, pem_of_key(key), mode=PRIVATE)
        write_whole(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), mode=PUBLIC)
        return Authority(certificate, key, folder / CERTIFICATE)


def read_authority(folder: Path, *, now: float) -> Authority:
    """Return the authority kept in ``folder``; raise ``CertificateRefused`` if it cannot sign."""
    file = folder / CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as broken:
        raise CertificateRefused(file, f"the authority cannot be read: {broken}") from broken
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateRefused(file, f"{KEY} is not its key")
    if certificate.not_valid_after_utc <= at(now):
        raise CertificateRefused(file, "the authority has expired; remove it and trust the new one")
    return Authority(certificate, key, file)


def issue_server(authority: Authority, names: Sequence[str], *, days: float, now: float) -> Issued:
    """Sign a certificate for a server that answers to ``names``; it never outlives the authority."""
    for name in names:
        if not may_name(authority.certificate, name):
            raise CertificateRefused(
                authority.file,
                f"this authority cannot sign for {name!r}; use another folder, or remove it and trust the new one",
            )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = (
        _leaf(authority, key.public_key(), subject, at(now) + dt.timedelta(days=days), at(now))
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(authority.key, hashes.SHA256())
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), pem_of_key(key))


def issue_client(authority: Authority, name: str, *, days: float, now: float) -> Issued:
    """Sign a certificate for the client ``name``; it never outlives the authority."""
    require(bool(_CLIENT.fullmatch(name)), "name", name, "1 to 64 letters, digits, spaces and ._@+-")
    if "." in name and _HOST.fullmatch(name) and not may_name(authority.certificate, name):
        # OpenSSL takes such a name for a host's, and refuses it outside the authority's limits.
        raise CertificateRefused(authority.file, f"this authority cannot sign for {name!r}; leave the dots out")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _leaf(authority, key.public_key(), subject, at(now) + dt.timedelta(days=days), at(now)).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    certificate = builder.sign(authority.key, hashes.SHA256())
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), pem_of_key(key))


def may_name(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether an authority's name constraints let it sign for ``name``."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    asked = general_name(name)
    return any(_covers(permitted, asked) for permitted in limits.permitted_subtrees or ())


def general_name(name: str) -> x509.DNSName | x509.IPAddress:
    """Return ``name`` as a certificate holds it: an address or a host name, perhaps with a leading wildcard."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        require(bool(_HOST.fullmatch(name)) and len(name) <= 64, "name", name, "a host name or an IP address")
        return x509.DNSName(name.lower())


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def at(seconds: float) -> dt.datetime:
    """Return seconds since the epoch as X.509 writes them: UTC, whole seconds."""
    return dt.datetime.fromtimestamp(int(seconds), tz=dt.UTC)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage of an authority or of a leaf."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _self_sign(
    key: ec.EllipticCurvePrivateKey, constraints: x509.NameConstraints, now: dt.datetime
) -> x509.Certificate:
    # The key's name makes two authorities on one machine two entries in a trust store.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Quadra Matrix local development"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Quadra Matrix local CA {identifier.digest.hex()[:8]}"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    authority: Authority, key: ec.EllipticCurvePublicKey, subject: x509.Name, end: dt.datetime, now: dt.datetime
) -> x509.CertificateBuilder:
    """Return what every certificate of ``authority`` holds, whatever it is for."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - SKEW, authority.certificate.not_valid_before_utc))
        .not_valid_after(min(end, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )


def _constraints(names: Iterable[str]) -> x509.NameConstraints:
    """Return the limits of an authority for ``names`` and everything that is local anyway."""
    permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in LOCAL_DOMAINS]
    permitted += [x509.IPAddress(network) for network in _LOOPBACK_NETWORKS]
    for name in names:
        asked = general_name(name)
        if not any(_covers(known, asked) for known in permitted):
            permitted.append(_subtree(asked))
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)


def _subtree(name: x509.DNSName | x509.IPAddress) -> x509.GeneralName:
    """Return the constraint that permits ``name`` alone, or with what stands below it."""
    if isinstance(name, x509.DNSName):
        return x509.DNSName(name.value.removeprefix("*."))
    return x509.IPAddress(ipaddress.ip_network(str(name.value)))


def _covers(permitted: x509.GeneralName, name: x509.DNSName | x509.IPAddress) -> bool:
    """Tell whether a permitted subtree holds ``name`` (RFC 5280, 4.2.1.10)."""
    if isinstance(permitted, x509.DNSName) and isinstance(name, x509.DNSName):
        host = name.value.removeprefix("*.")
        return host == permitted.value or host.endswith(f".{permitted.value}")
    if isinstance(permitted, x509.IPAddress) and isinstance(name, x509.IPAddress):
        network = permitted.value
        address = ipaddress.ip_address(str(name.value))
        return isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and address in network
    return False
