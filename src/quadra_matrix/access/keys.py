"""What an API key looks like, and the hash that is kept of it. Pure but for the drawing of a new one.

``qmx_ID_SECRETCHECK``: a prefix that scanners of leaked secrets look for, twelve characters that may be shown, 32
random ones and six of a checksum, so that a mistyped or invented key is refused before anything is looked up.

A key holds 190 random bits, so it cannot be guessed, and the slow hash that a password needs would only slow every
request down. The hash is keyed: who can write into the database cannot make a key of its own, and who reads it cannot
tell whether a key that was found elsewhere belongs here.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

from quadra_matrix.store.keys import KeyKind

PREFIXES = {KeyKind.API: "qmx_", KeyKind.SESSION: "qms_"}
SCANNED = r"qm[xs]_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}"
"""The pattern by which a scanner finds keys and sessions in files and logs."""

ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 12, 32, 6
_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PATTERN = re.compile(SCANNED, re.ASCII)
_KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret as its holder shows it."""

    kind: KeyKind
    id: str
    text: str = field(repr=False)


def draw(kind: KeyKind) -> Shown:
    """Return a new secret."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(ID_LENGTH))
    begun = f"{PREFIXES[kind]}{name}_" + "".join(secrets.choice(_LETTERS) for _ in range(SECRET_LENGTH))
    return Shown(kind, name, begun + _check(begun))


def read(text: str) -> Shown | None:
    """Return what ``text`` is if it may be a secret of ours; its checksum fits, nothing else is known of it."""
    if _PATTERN.fullmatch(text) is None or _check(text[:-CHECK_LENGTH]) != text[-CHECK_LENGTH:]:
        return None
    return Shown(_KINDS[text[:4]], text[4 : 4 + ID_LENGTH], text)


def pepper(secret: str) -> bytes:
    """Return the key of the hash, made of the service's secret so that no other use of it gives the same."""
    return hashlib.blake2b(secret.encode(), digest_size=32, person=b"quadra.access").digest()


def digest(text: str, pepper: bytes) -> str:
    """Return the keyed hash of a secret, as hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=32, key=pepper).hexdigest()


def csrf_token(session: str) -> str:
    """Return what a page of the session's holder shows beside the cookie; the session cannot be told from it."""
    return hashlib.blake2b(session.encode(), digest_size=24, person=b"quadra.csrf").hexdigest()


def _check(text: str) -> str:
    """Return the checksum of a text in the letters of a key."""
    left, letters = zlib.crc32(text.encode()), ""
    while len(letters) < CHECK_LENGTH:
        left, digit = divmod(left, len(_LETTERS))
        letters = _LETTERS[digit] + letters
    return letters
