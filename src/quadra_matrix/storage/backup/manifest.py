"""What a backup says about itself: where it came from, every member with its checksum, and a signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quadra_matrix.errors import BackupUnreadable

FORMAT = 1
"""Version of the archive's layout; a reader refuses one that it does not know."""

LABEL = b"quadra-matrix backup manifest"
"""Keeps these signatures apart from all else that the same secret signs."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds. ``made`` is in seconds since the epoch, ``rows`` counts each table at that moment."""

    made: float
    version: str
    """Of the package that wrote it."""
    dialect: str
    """``sqlite`` or ``postgresql``."""
    revision: str | None
    """Of the tables."""
    rows: Mapping[str, int]
    members: Mapping[str, Member]
    """By name inside the archive, in their order."""

    @property
    def size(self) -> int:
        """Bytes of all members together, unpacked."""
        return sum(member.size for member in self.members.values())


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON."""
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode()


def decode(text: bytes) -> Manifest:
    """Return the manifest that the JSON holds; raise ``BackupUnreadable`` for any other text."""
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise BackupUnreadable(f"its format is {str(found['format'])[:20]}, this version reads {FORMAT}")
        members = {name: Member(_whole(file["size"]), str(file["sha256"])) for name, file in found["members"].items()}
        rows = {str(table): _whole(count) for table, count in found["rows"].items()}
        revision = None if found["revision"] is None else str(found["revision"])
        return Manifest(
            float(found["made"]), str(found["version"]), str(found["dialect"]), revision, rows, members
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise BackupUnreadable("its manifest is not one of ours") from broken


def sign(text: bytes, secret: str) -> str:
    """Return the HMAC-SHA256 of an encoded manifest, in hexadecimal."""
    key = hmac.digest(secret.encode(), LABEL, hashlib.sha256)
    return hmac.digest(key, text, hashlib.sha256).hex()


def is_signed_by(text: bytes, signature: str, secret: str) -> bool:
    """Tell whether ``signature`` was made with this secret, in constant time."""
    return hmac.compare_digest(sign(text, secret).encode(), signature.encode())


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a count")
    return value
