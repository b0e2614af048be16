"""What makes a secret key weak, and a strong one."""

from __future__ import annotations

import secrets

FEWEST_BYTES = 32
"""256 bits: what HMAC-SHA-256 can use."""
FEWEST_CHARACTERS = 8
"""Of 32 random hexadecimal digits fewer than 8 differ once in 28 million keys."""

PLACEHOLDERS = (
    "changeme",
    "default",
    "development",
    "example",
    "insecure",
    "placeholder",
    "replaceme",
    "secretkey",
    "supersecret",
    "yoursecret",
)
"""Words, less punctuation, of keys copied from a manual. Chance writes one into fewer than one key in 10**8."""


def weakness(key: str) -> str | None:
    """Return why ``key`` must not sign anything, or None for a strong one. The answer does not quote the key."""
    if not key:
        return "it is not set"
    if len(key.encode()) < FEWEST_BYTES:
        return f"it has {len(key.encode())} bytes, {FEWEST_BYTES} are the least"
    plain = "".join(letter for letter in key.lower() if letter.isalnum())
    if any(word in plain for word in PLACEHOLDERS):
        return "it is a placeholder"
    if len(set(key)) < FEWEST_CHARACTERS:
        return f"it has only {len(set(key))} different characters"
    return None


def new_secret() -> str:
    """Return a fresh key of 384 random bits, safe in a shell, an URL and a ``.env`` file."""
    return secrets.token_urlsafe(48)
