"""Encryption of whole archives with age: to a public key, so that the machine which writes them cannot read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyrage

from quadra_matrix.errors import BackupUnreadable, InvalidValue


def encrypt(source: Path, into: Path, recipients: Sequence[str]) -> None:
    """Write ``source`` encrypted to every recipient (``age1...``)."""
    pyrage.encrypt_file(str(source), str(into), [_recipient(text) for text in recipients])


def decrypt(source: Path, into: Path, identities: Path) -> None:
    """Write ``source`` decrypted with the first fitting key of the file ``identities``, as age-keygen writes it.

    Raises ``BackupUnreadable`` when no key fits or the file was changed or cut short.
    """
    keys = [_identity(line) for line in identities.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-")]
    if not keys:
        raise InvalidValue("identity", str(identities), "a file with a line AGE-SECRET-KEY-1...")
    try:
        pyrage.decrypt_file(str(source), str(into), keys)
    except pyrage.DecryptError as failed:
        raise BackupUnreadable(f"it cannot be decrypted: {failed}") from failed
    except OSError as failed:
        if failed.errno is None:  # how pyrage reports a changed or missing part; the system's errors have a number
            raise BackupUnreadable("it cannot be decrypted: it was changed or cut short") from failed
        raise


def new_identity() -> tuple[str, str]:
    """Return a new secret key and the recipient that encrypts to it."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise InvalidValue("recipient", text[:80], "a public key of age, age1...") from None


def _identity(text: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise InvalidValue("identity", "(not shown)", "a secret key of age, AGE-SECRET-KEY-1...") from None
