"""Faults of files: no descriptor left for the target's process, no room left on a file system."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.faults.process import lacks_process, target_of
from quadra_matrix.chaos.faults.watch import Watch
from quadra_matrix.chaos.recovery import STRICT
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import RemoveFile, SetOpenFiles
from quadra_matrix.errors import FaultFailed, require

LOOKS, BETWEEN_LOOKS = 20, 0.01
"""How often a process is asked for its free numbers, and the seconds between."""
BLOCK = 1 << 20
"""Bytes of a step when the last room is taken."""


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Let the target's process open no more files and connections."""

    __pydantic_config__: ClassVar = STRICT

    left: int = 0
    """How many it may still open."""
    fault: Literal["open-files"] = "open-files"

    def __post_init__(self) -> None:
        require(self.left >= 0, "left", self.left, "at least 0")

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to limit the process."""
        return lacks_process(scene)

    def arm(self, scene: Scene) -> Armed:
        """Remember the limit of the process."""
        target = target_of(scene, self.fault)
        soft, hard = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
        watch = Watch(lambda: 100.0 * (_limit_of(target.pid) != soft), scene.clock)

        def inject() -> None:
            # The kernel compares the limit with the lowest free number, not with how many are open. A request that is
            # being answered takes numbers for a moment: the lowest of several looks is what is free between requests.
            free = []
            for _ in range(LOOKS):
                free.append(_lowest_free(target.pid))
                scene.clock.sleep(BETWEEN_LOOKS)
            limit = min(free) + self.left
            try:
                resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (min(limit, soft), hard))
            except OSError as failed:
                raise FaultFailed(self.fault, failed.strerror or str(failed)) from failed
            watch.start()

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            return dose.level("time limited", 100.0, watch.readings())

        undo = SetOpenFiles(target.pid, target.born, soft, hard)
        return Armed(undo, inject, measured, close=watch.stop)


@dataclass(frozen=True, slots=True)
class DiskFull:
    """Fill the file system below a folder. Never the root file system: the machine needs it to come back."""

    __pydantic_config__: ClassVar = STRICT

    folder: str
    percent: float = 100.0
    """Use of the file system."""
    fault: Literal["disk-full"] = "disk-full"

    def __post_init__(self) -> None:
        require(0 < self.percent <= 100, "percent", self.percent, "above 0 and at most 100")

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to fill the file system."""
        folder = Path(self.folder)
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            return f"a folder {self.folder} that can be written to"
        device = folder.stat().st_dev
        if device in {Path("/").stat().st_dev, scene.folder.stat().st_dev}:
            return f"a file system of its own below {self.folder}: this one is the root's, or holds temporary files"
        return None

    def arm(self, scene: Scene) -> Armed:
        """Choose the file that takes the room."""
        path = Path(self.folder).absolute() / f".quadra-chaos-{os.getpid()}"
        watch = Watch(lambda: _used(self.folder), scene.clock)

        def inject() -> None:
            try:
                _fill(path, self.percent)
            except OSError as failed:
                raise FaultFailed(self.fault, failed.strerror or str(failed)) from failed
            watch.start()

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            return dose.level("file system in use", self.percent, watch.readings(), tolerance=1.0)

        return Armed(RemoveFile(str(path)), inject, measured, close=watch.stop)


def _limit_of(pid: int) -> int:
    """Return the soft limit of open files; -1 for a process that is gone."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except ProcessLookupError:
        return -1


def _lowest_free(pid: int) -> int:
    """Return the lowest number that no open file of a process has."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _used(folder: str) -> float:
    """Return the use of a file system in percent, as anybody but root may use it."""
    found = os.statvfs(folder)
    taken = found.f_blocks - found.f_bfree
    return 100.0 * taken / max(1, taken + found.f_bavail)


def _fill(path: Path, percent: float) -> None:
    """Take room until the file system is in use to this part."""
    found = os.statvfs(path.parent)
    taken = found.f_blocks - found.f_bfree
    wanted = int((taken + found.f_bavail) * percent / 100) - taken
    with path.open("wb") as file:
        size = max(0, wanted) * found.f_frsize
        while size > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError:
                if size <= BLOCK:
                    raise
                size -= BLOCK  # the file system keeps some room for its own
