"""What this machine can do for experiments, and what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.chaos.faults.any import KINDS

PROGRAMS = "/usr/sbin:/usr/local/sbin:/sbin"
PATIENCE = 10.0
"""Seconds a check may take."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that a fault may need."""

    name: str
    is_there: bool
    detail: str


def examine() -> Iterator[Capability]:
    """Yield every capability; a check harms nothing."""
    yield Capability("faults", True, ", ".join(sorted(KINDS)))
    yield Capability("unix sockets", *_sockets())
    yield Capability("transparent redirect (nft)", *_nft())
    yield Capability("packet delay (netem)", *_netem())
    yield Capability("namespaces without root", *_succeeds("unshare", "-Urnm", "true"))
    yield Capability("limits of memory and CPU", *_cgroup())


def _sockets() -> tuple[bool, str]:
    room = 107 - len(tempfile.gettempdir()) - len("/quadra-12345678/proxy-99")
    return room > 0, f"{tempfile.gettempdir()} leaves {room} characters of a socket's path"


def _nft() -> tuple[bool, str]:
    if os.geteuid() and not _succeeds("unshare", "-Urn", "true")[0]:
        return False, "needs root or a namespace"
    return _succeeds("nft", "list", "ruleset")


def _netem() -> tuple[bool, str]:
    """Try it in a network namespace of its own, where it harms nobody."""
    return _succeeds("unshare", "-Urn", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


def _cgroup() -> tuple[bool, str]:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return True, "cgroup v2"
    if (root / "memory" / "memory.limit_in_bytes").exists():
        return True, "cgroup v1"
    return False, "no cgroup with limits: the host's totals count"


def _succeeds(program: str, *words: str) -> tuple[bool, str]:
    found = shutil.which(program) or shutil.which(program, path=PROGRAMS)
    if found is None:
        return False, f"{program} is not installed"
    try:
        ended = subprocess.run(  # noqa: S603  a program found by name, our own words
            [found, *words], check=False, capture_output=True, text=True, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return False, str(failed)
    return ended.returncode == 0, (ended.stderr.strip().splitlines() or [found])[-1]
