"""A package of the npm registry for a test that needs data or a script from it: fetched once, then kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

from tests.services.process import needs

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quadra-matrix-tests" / "npm"


def npm_package(name: str, version: str, integrity: str) -> Path:
    """Return the folder with the package's files. Only content with the given ``integrity`` (sha512-...) is taken."""
    npm = needs("npm", "apt-get install npm")
    kept = KEPT / f"{name.replace('/', '+')}-{version}"
    if kept.is_dir():
        return kept
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        packed = subprocess.run(
            [npm, "pack", "--json", "--silent", f"{name}@{version}"],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert packed.returncode == 0, packed.stdout + packed.stderr
        archive = Path(scratch, json.loads(packed.stdout)[0]["filename"].replace("@", "").replace("/", "-"))
        found = "sha512-" + b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert found == integrity, f"{name}@{version} is {found}"
        with tarfile.open(archive) as opened:
            opened.extractall(scratch, filter="data")
        with suppress(OSError):  # another test process was faster
            Path(scratch, "package").rename(kept)
    return kept
