"""Entries that only the holders of a secret can read: the keys in a database, and in its backups."""

from __future__ import annotations

import logging
import secrets

from quadra_matrix.errors import MissingExtra
from quadra_matrix.store.certificates import CertificateStore

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as missing:
    raise MissingExtra("cryptography", "tls") from missing

log = logging.getLogger(__name__)

NONCE = 12
"""Bytes; drawn for each writing, of which there are a few a day."""


class Sealed:
    """A ``CertificateStore`` that encrypts the entries of another one (AES-256-GCM), each bound to its name.

    An entry that another secret sealed counts as missing. May be shared as ``store`` may be.
    """

    def __init__(self, store: CertificateStore, secret: bytes) -> None:
        self._store = store
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"quadra-matrix certificates").derive(secret)
        self._cipher = AESGCM(derived)

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the lease of ``name``; False while another holder has it."""
        return self._store.lead(name, holder, seconds)

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, if ``holder`` has it."""
        self._store.leave(name, holder)

    def read(self, name: str) -> bytes | None:
        """Return an entry, or None if there is none, its time is over or it cannot be opened."""
        sealed = self._store.read(name)
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], name.encode())
        except (InvalidTag, ValueError):
            log.warning("the entry %s was sealed with another secret and counts as missing", name)
            return None

    def write(self, name: str, content: bytes | None, *, until: float | None = None) -> None:
        """Replace an entry whole, or remove it with None; after ``until``, seconds since the epoch, it is gone."""
        if content is not None:
            nonce = secrets.token_bytes(NONCE)
            content = nonce + self._cipher.encrypt(nonce, content, name.encode())
        self._store.write(name, content, until=until)
