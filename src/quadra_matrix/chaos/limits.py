"""The limits a process lives under, and how much of them is used: its control group's, else the host's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Memory that a process shares with others up to a limit."""

    limit: int
    """Bytes."""
    group: Path | None = None
    """Folder of the control group with the limit; None: the host."""

    def used(self) -> int:
        """Return the bytes in use that the kernel cannot simply drop."""
        if self.group is None:
            found = _host()
            return found["MemTotal"] - found["MemAvailable"]
        version_2 = self.group / "memory.current"
        file, idle = (
            (version_2, "inactive_file")
            if version_2.exists()
            else (
                self.group / "memory.usage_in_bytes",
                "total_inactive_file",
            )
        )
        return int(file.read_text()) - _statistics(self.group / "memory.stat").get(idle, 0)

    def percent(self) -> float:
        """Return the use in percent of the limit."""
        return 100.0 * self.used() / self.limit

    def join(self, pid: int) -> None:
        """Have the group account for a process. Raises ``OSError`` without the right to."""
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(pid))


def memory_of(pid: int | None) -> MemoryLimit:
    """Return the nearest limit above a process; the host's without one or without a process."""
    for group in _groups(pid, "memory") if pid is not None else ():
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(group / name)
            if limit is not None and limit < min(UNLIMITED, _host()["MemTotal"]):
                return MemoryLimit(limit, group)
    return MemoryLimit(_host()["MemTotal"])


def cpus_of(pid: int | None) -> tuple[int, ...]:
    """Return the processors that a process may use; those of this one without a process."""
    return tuple(sorted(os.sched_getaffinity(pid or 0)))


def busy_of(cpus: tuple[int, ...]) -> tuple[int, int]:
    """Return the clock ticks that processors were busy, and all ticks that passed on them, since the start."""
    busy = whole = 0
    for row in Path("/proc/stat").read_text().splitlines():
        name, *cells = row.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            ticks = [int(cell) for cell in cells[:8]]  # guests are in user time already
            whole += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4]
    return busy, whole


def _groups(pid: int, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that a process is in, from its own to the outermost."""
    for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = row.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = ROOT / controller if names else ROOT
        place = root / path.lstrip("/")
        while place != root and root in place.parents:
            yield place
            place = place.parent
        yield root


def _number(path: Path) -> int | None:
    """Return the number in a file; None where there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _statistics(path: Path) -> dict[str, int]:
    rows = (row.split() for row in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def _host() -> dict[str, int]:
    """Return the host's memory by name, in bytes."""
    rows = (row.split() for row in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): 1024 * int(row[1]) for row in rows}
