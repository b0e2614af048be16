"""The TLS options of a server: versions 1.2 and 1.3, the cipher suites of Mozilla's intermediate profile."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.errors import CertificateRefused
from quadra_matrix.tls.clients import witness
from quadra_matrix.tls.inspection import Fault, Inspection, inspect_pair

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""The suites of TLS 1.2; those of 1.3 are all good and not for us to choose. The client's order wins."""

UNUSABLE = frozenset({Fault.WRONG_KEY, Fault.BROKEN_CHAIN})
OUT_OF_TIME = frozenset({Fault.EXPIRED, Fault.NOT_YET_VALID})


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """Whose certificates a server asks its clients for, in PEM."""

    authorities: Path
    revoked: Path | None = None
    """Certificate revocation list of the authority. Once it is out of date, every client is refused."""
    required: bool = True
    """Refuse clients that present none. One that is presented is verified in any case."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What a server proves itself with, in PEM, and what its clients do."""

    certificate: Path
    """The certificate, followed by its intermediates."""
    key: Path
    clients: ClientFiles | None = None

    @property
    def watched(self) -> tuple[Path, ...]:
        """Return every file whose change asks for a fresh context."""
        asked = () if self.clients is None else (self.clients.authorities, self.clients.revoked)
        return (self.certificate, self.key, *(path for path in asked if path is not None))


def inspect_files(files: ServerFiles, *, now: float) -> Inspection:
    """Return what is in ``files``; raise ``CertificateRefused`` if no server can use it, expired or not."""
    found = inspect_pair(files.certificate, files.key, now=now)
    for each in found.faults:
        if each.fault in UNUSABLE:
            raise CertificateRefused(files.certificate, each.detail)
    return found


def server_context(files: ServerFiles) -> ssl.SSLContext:
    """Return a context that serves ``files`` as they are now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    configure(context, files)
    return context


def configure(context: ssl.SSLContext, files: ServerFiles) -> None:
    """Give a new context the options and the files."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # phones without AES instructions ask for ChaCha20 first
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key)
    except OSError as refused:  # ssl.SSLError is one
        raise CertificateRefused(files.certificate, f"it cannot be served: {refused}") from refused
    if files.clients is not None:
        ask_clients(context, files.clients)


def ask_clients(context: ssl.SSLContext, files: ClientFiles) -> None:
    """Have ``context`` ask clients for certificates and verify them against ``files``.

    A ticket would let a client resume for hours what its certificate no longer allows, so there are none.
    """
    context.verify_mode = ssl.CERT_REQUIRED if files.required else ssl.CERT_OPTIONAL
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    for path in (files.authorities, files.revoked):
        try:
            if path is not None:
                context.load_verify_locations(path)
        except OSError as refused:
            raise CertificateRefused(path or files.authorities, f"clients cannot be verified: {refused}") from refused
    if files.revoked is not None:
        if not context.cert_store_stats()["crl"]:
            raise CertificateRefused(files.revoked, "it holds no revocation list")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    witness(context)
