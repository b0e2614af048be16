"""What should run on one machine: versions, their commands and instances; values, and where the proxy's socket is."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

from quadra_matrix.delivery.envoy import Cluster, Hub
from quadra_matrix.errors import require
from quadra_matrix.pids import Process

LONGEST_SOCKET = 100
"""Characters a unix socket's path may have, with some room."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a version is started. ``{port}``, ``{version}`` and ``{free_port}`` in its words are filled in."""

    words: tuple[str, ...]
    cwd: str

    def __post_init__(self) -> None:
        require(any("{port}" in word for word in self.words), "command", " ".join(self.words), "one that uses {port}")

    def for_instance(self, version: str, port: int, spare: int) -> tuple[str, ...]:
        """Return the words of one instance; ``spare`` is a second port, for a server that needs two."""
        filled = {"{port}": str(port), "{version}": version, "{free_port}": str(spare)}
        return tuple(reduce(lambda text, one: text.replace(*one), filled.items(), word) for word in self.words)


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of a version."""

    port: int
    process: Process
    restarts: int = 0
    pause: float = 0.0
    """Seconds that were waited for, or are, before it is started again."""
    next_start: float = 0.0
    """Seconds since the epoch before which it is not started again."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version that should run."""

    version: str
    number: int
    command: Command
    instances: tuple[Instance, ...] = ()

    @property
    def name(self) -> str:
        """The name of its cluster."""
        return f"{self.version}@{self.number}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What should run on this machine."""

    port: int
    health: str = "/health"
    hub: Hub | None = None
    instances: int = 1
    program: str | None = None
    """The proxy program, where it is not the installed one."""
    deployed: dict[str, Deployed] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    numbered: int = 0
    clusters_revision: int = 1
    leaving: tuple[Process, ...] = ()
    """Processes of versions that are taken out already and must still be stopped."""
    proxy: Process | None = None
    supervisor: Process | None = None

    @property
    def clusters(self) -> list[Cluster]:
        """The versions as the proxy is told about them."""
        return [
            Cluster(one.name, one.version, tuple(instance.port for instance in one.instances), self.health)
            for one in self.deployed.values()
        ]


def admin_socket(folder: Path) -> Path:
    """Return where the proxy's admin socket is: below the folder, or where a long path leaves room for its name."""
    path = folder.absolute() / "admin" / "envoy.sock"
    if len(str(path)) <= LONGEST_SOCKET:
        return path
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"quadra-{os.getuid()}-{name}" / "envoy.sock"


def words_of(command: Sequence[str], cwd: Path) -> Command | None:
    """Return the command, or None for no words."""
    return Command(tuple(command), str(cwd.absolute())) if command else None
