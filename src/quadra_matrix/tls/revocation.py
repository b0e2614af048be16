"""The revocation list of a local authority: which of its certificates it takes back."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import CertificateRefused, MissingExtra
from quadra_matrix.tls.authority import Authority, at, read_authority
from quadra_matrix.tls.files import PUBLIC, one_at_a_time, write_whole

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
except ImportError as missing:
    raise MissingExtra("cryptography", "tls") from missing

REVOKED = "crl.pem"


def revocation_list(folder: Path, *, clock: Clock = SYSTEM_CLOCK) -> Path:
    """Return the revocation list of the authority in ``folder``, made on first use."""
    with one_at_a_time(folder):
        if not (folder / REVOKED).exists():
            _write(folder, read_authority(folder, now=clock.now()), (), number=1, now=clock.now())
    return folder / REVOKED


def revoke(folder: Path, serial: int, *, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Take the certificate with this serial back; tell whether it was good until now."""
    path = revocation_list(folder, clock=clock)
    with one_at_a_time(folder):
        authority = read_authority(folder, now=clock.now())
        known = _read(path, authority)
        if known.get_revoked_certificate_by_serial_number(serial) is not None:
            return False
        number = known.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        fresh = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at(clock.now())).build()
        _write(folder, authority, (*known, fresh), number=number + 1, now=clock.now())
    return True


def _read(path: Path, authority: Authority) -> x509.CertificateRevocationList:
    try:
        known = x509.load_pem_x509_crl(path.read_bytes())
    except ValueError as broken:
        raise CertificateRefused(path, f"it is no revocation list: {broken}") from broken
    if not known.is_signature_valid(authority.key.public_key()):
        raise CertificateRefused(path, "the authority beside it did not sign it")
    return known


def _write(
    folder: Path, authority: Authority, revoked: tuple[x509.RevokedCertificate, ...], *, number: int, now: float
) -> None:
    """Sign and put in place a list of ``revoked``.

    It is good for as long as the authority: one that ran out would lock every client out, and nobody renews it.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(at(now))
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(each)
    signed = builder.sign(authority.key, hashes.SHA256())
    write_whole(folder / REVOKED, signed.public_bytes(serialization.Encoding.PEM), mode=PUBLIC)
