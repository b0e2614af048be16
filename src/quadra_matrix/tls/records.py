"""What the hosts of one certificate keep together: the account, the pair, and how its renewal stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.tls.authority import Issued
from quadra_matrix.tls.ordering import OrderOptions
from quadra_matrix.tls.renewal import NO_ATTEMPTS, Attempts, Window


@dataclass(frozen=True, slots=True)
class Account:
    """An account at an authority."""

    key: bytes
    """PEM."""
    email: str | None = None
    """The address that the authority was told; None before it knows the account."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How the renewal of one certificate stands."""

    certificate: str = ""
    """SHA-256 of the certificate it is about; what is told of another one is void."""
    attempts: Attempts = NO_ATTEMPTS
    window: Window | None = None
    ask_at: float = 0.0
    """When to ask the authority for its window again, seconds since the epoch."""


class Records:
    """The entries of one order in a store; each authority has its own, so that a trial never replaces the real one."""

    def __init__(self, store: CertificateStore, options: OrderOptions) -> None:
        authority = hashlib.sha256(options.directory.encode()).hexdigest()[:12]
        self.lease = f"orders-{authority}"
        self._store = store
        self._account = f"account-{authority}"
        self._pair = f"pair-{options.domain.lower()}-{authority}"
        self._progress = f"progress-{options.domain.lower()}-{authority}"

    def account(self) -> Account | None:
        """Return the account, if there is one."""
        told = self._read(self._account)
        return Account(told["key"].encode(), told["email"]) if told else None

    def keep_account(self, account: Account) -> None:
        """Keep the account for every later order."""
        self._write(self._account, {"key": account.key.decode(), "email": account.email})

    def pair(self) -> Issued | None:
        """Return the certificate that was issued last, and its key."""
        told = self._read(self._pair)
        return Issued(told["certificate"].encode(), told["key"].encode()) if told else None

    def keep_pair(self, issued: Issued) -> None:
        """Keep a certificate for every host."""
        self._write(self._pair, {"certificate": issued.certificate.decode(), "key": issued.key.decode()})

    def progress(self, certificate: str) -> Progress:
        """Return how the renewal of this certificate stands."""
        told = self._read(self._progress)
        if not told or told["certificate"] != certificate:
            return Progress(certificate)
        window = Window(**told["window"]) if told["window"] else None
        return Progress(certificate, Attempts(**told["attempts"]), window, told["ask_at"])

    def keep_progress(self, progress: Progress) -> None:
        """Keep how the renewal stands."""
        self._write(self._progress, asdict(progress))

    def _read(self, name: str) -> dict[str, Any]:
        content = self._store.read(name)
        told: dict[str, Any] = json.loads(content) if content else {}
        return told

    def _write(self, name: str, told: Mapping[str, Any]) -> None:
        self._store.write(name, json.dumps(told).encode())
