"""A certificate and its key, replaced together.

Two files cannot be renamed in one step, a link can. Each pair has a folder of its own under ``versions``; ``current``
points at one of them, and ``cert.pem`` and ``key.pem`` point through ``current``.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

from quadra_matrix.tls.files import PRIVATE, PUBLIC, link_whole, private_folder, write_whole

CERTIFICATE, KEY = "cert.pem", "key.pem"


class Pair(NamedTuple):
    """Where a certificate (with its intermediates) and its key stand; unpacks as ``cert, key``."""

    certificate: Path
    key: Path


def pair_in(folder: Path) -> Pair:
    """Return where the pair of ``folder`` stands, or will stand."""
    return Pair(folder / CERTIFICATE, folder / KEY)


def replace_pair(folder: Path, *, certificate: bytes, key: bytes) -> Pair:
    """Make ``certificate`` and ``key`` the pair of ``folder`` in one step; the previous pair stays on disk."""
    versions = private_folder(folder) / "versions"
    version = private_folder(versions) / secrets.token_hex(8)
    version.mkdir(mode=0o700)
    write_whole(version / KEY, key, mode=PRIVATE)
    write_whole(version / CERTIFICATE, certificate, mode=PUBLIC)
    previous = (folder / "current").resolve()
    link_whole(folder / "current", f"versions/{version.name}")
    for name in (KEY, CERTIFICATE):
        link_whole(folder / name, f"current/{name}")
    for old in versions.iterdir():
        # A reader may have opened one file of the previous pair and be about to open the other.
        if old.resolve() not in (version.resolve(), previous):
            shutil.rmtree(old)
    return pair_in(folder)
