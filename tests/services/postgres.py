"""A real PostgreSQL server for tests. It refuses root, so root runs it as the user postgres."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.services.process import free_port, needs


@dataclass(frozen=True)
class Postgres:
    """A server that runs, and how to reach it."""

    port: int
    folder: Path
    bin: Path

    @property
    def url(self) -> str:
        """Address of the empty database ``postgres``."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its address."""
        _as_postgres(
            self.bin / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name, folder=self.folder
        )
        return self.url.rsplit("/", 1)[0] + "/" + name


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Yield a fresh cluster with trust authentication on loopback; it is deleted afterwards."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="quadra-pg-", dir="/tmp"))  # the user postgres must be able to enter it
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data, port = folder / "data", free_port()
        _as_postgres(binaries / "initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", folder=folder)
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
        control = binaries / "pg_ctl"
        _as_postgres(
            control, "-D", str(data), "-w", "-t", "60", "-o", options, "-l", str(folder / "log"), "start", folder=folder
        )
        try:
            yield Postgres(port, folder, binaries)
        finally:
            _as_postgres(control, "-D", str(data), "-m", "immediate", "-w", "stop", folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """Return the folder of initdb: Debian keeps it off the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if debian:
        return debian[-1]
    return Path(needs("initdb", "apt-get install postgresql")).parent


def _as_postgres(program: Path, *arguments: str, folder: Path) -> None:
    """Run one of PostgreSQL's programs as a user it accepts."""
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    subprocess.run(
        [str(program), *arguments],
        check=True,
        timeout=120,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
