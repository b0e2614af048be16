"""What is ordered from which certificate authority."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from quadra_matrix.errors import CertificateRefused, require
from quadra_matrix.loopback import is_loopback
from quadra_matrix.tls.authority import general_name

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
"""Let's Encrypt for trials: generous limits, certificates that no client trusts."""


@dataclass(frozen=True, slots=True)
class OrderOptions:
    """A certificate, where it comes from, and how the names in it are proved (http-01)."""

    domain: str
    email: str
    also: tuple[str, ...] = ()
    """More names on the same certificate."""
    directory: str = LETS_ENCRYPT
    roots: Path | None = None
    """PEM file that vouches for the directory's own certificate; the public authorities if unset."""
    profile: str | None = None
    """Profile of the authority, such as Let's Encrypt's ``shortlived``; its default if unset."""
    agree_to_terms: bool = False
    """Whether you agree to the authority's terms of service; needed once, to make the account."""
    http_port: int | None = 80
    """Port that answers challenges while an order runs; None if the application is what port 80 leads to."""
    http_address: str = ""
    """Address of that port; all of the machine if empty."""

    def __post_init__(self) -> None:
        for name in self.names:
            is_host = isinstance(general_name(name), x509.DNSName) and "." in name and "*" not in name
            require(is_host, "domain", name, "a full host name: http-01 proves no wildcard and no address")
        require("@" in self.email and self.email.isprintable(), "email", self.email, "an e-mail address")
        place = urlsplit(self.directory)
        is_safe = place.scheme == "https" or (place.scheme == "http" and is_loopback(place.hostname or ""))
        require(is_safe, "directory", self.directory, "an https address")
        require(self.http_port is None or 0 < self.http_port < 65536, "http_port", self.http_port, "a port, or None")

    @property
    def names(self) -> tuple[str, ...]:
        """Return every name of the certificate, the domain first."""
        return tuple(dict.fromkeys(name.lower() for name in (self.domain, *self.also)))


def to_json(options: OrderOptions) -> bytes:
    """Return the options as a file holds them."""
    return json.dumps(asdict(options), default=str, indent=2).encode()


def from_json(path: Path) -> OrderOptions:
    """Return the options that a file holds."""
    try:
        told = json.loads(path.read_bytes())
        roots = told.pop("roots")
        return OrderOptions(**{**told, "also": tuple(told["also"]), "roots": Path(roots) if roots else None})
    except (OSError, ValueError, TypeError, KeyError) as broken:
        raise CertificateRefused(path, f"the order cannot be read: {broken}") from broken
