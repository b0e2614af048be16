"""What serving over TLS announces."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class CertificateSwapped(Event):
    """A server offers another certificate from now on. ``expires`` is in seconds since the epoch."""

    certificate: str
    serial: str
    expires: float


@dataclass(frozen=True, slots=True)
class CertificateSwapFailed(Event):
    """New certificate files cannot be used; the last good ones go on serving."""

    certificate: str
    reason: str


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A client connected and no TLS connection came of it."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClientCertificateRefused(Event):
    """A client presented a certificate that was refused, or none where one is required.

    ``fault`` is one of OpenSSL's few phrases. ``subject`` and ``serial`` are what the client says; nobody has verified
    them.
    """

    peer: str
    fault: str
    subject: str
    serial: str


@dataclass(frozen=True, slots=True)
class CertificateRenewed(Event):
    """An authority issued a certificate, the first or the next one. ``expires`` is in seconds since the epoch."""

    domain: str
    serial: str
    expires: float


@dataclass(frozen=True, slots=True)
class RenewalFailed(Event):
    """An authority issued nothing; the old certificate, if there is one, goes on serving."""

    domain: str
    reason: str
    next_try: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RenewalAdvised(Event):
    """An authority changed when it wants a certificate renewed, in seconds since the epoch."""

    domain: str
    start: float
    end: float
    explanation: str | None
    """Address of a page that says why, if the authority gives one."""
