"""Which process of this machine listens on an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quadra_matrix.loopback import is_loopback

LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


def listener(address: str) -> int | None:
    """Return the number of the oldest process that listens on ``host:port``; None if it is not on this machine."""
    host, _, port = address.rpartition(":")
    if not is_loopback(host.strip("[]")):
        return None
    inodes = {f"socket:[{inode}]" for inode in _inodes(int(port))}
    return min((pid for pid in _pids() if inodes and inodes & _sockets(pid)), default=None)


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            cells = row.split()
            if cells[3] == LISTEN and int(cells[1].rpartition(":")[2], 16) == port:
                yield cells[9]


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _sockets(pid: int) -> set[str]:
    """Return what a process has open; nothing for one that is gone or somebody else's."""
    found = set()
    try:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(handle.readlink()))
    except OSError:
        return found
    return found
