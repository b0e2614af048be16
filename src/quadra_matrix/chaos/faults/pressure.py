"""Use up processors or memory to a level of what the target may use; what others use counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.faults.watch import Watch
from quadra_matrix.chaos.limits import busy_of, cpus_of, memory_of
from quadra_matrix.chaos.recovery import STRICT
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import EndProcess
from quadra_matrix.errors import FaultFailed, require
from quadra_matrix.pids import process_of

SETTLING = 0.25
"""Part of the readings, from the first, in which the level is still being reached."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Keep the processors that the target may use busy to a level."""

    __pydantic_config__: ClassVar = STRICT

    percent: float = 80.0
    """Total use of these processors."""
    fault: Literal["cpu"] = "cpu"

    def __post_init__(self) -> None:
        require(0 < self.percent <= 100, "percent", self.percent, "above 0 and at most 100")

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to reach the target's processors."""
        return lacks_target(scene)

    def arm(self, scene: Scene) -> Armed:
        """Start a burden that waits."""
        cpus = cpus_of(scene.pid)
        last = [busy_of(cpus)]

        def read() -> float:
            now, before = busy_of(cpus), last[0]
            last[0] = now
            return 100.0 * (now[0] - before[0]) / max(1, now[1] - before[1])

        return burdened(scene, self.fault, self.percent, read, f"use of {len(cpus)} processors", every=0.5)


@dataclass(frozen=True, slots=True)
class Memory:
    """Fill the memory that the target may use to a level: its control group's limit, or the host's memory."""

    __pydantic_config__: ClassVar = STRICT

    percent: float = 70.0
    """Use in percent of the limit."""
    fault: Literal["memory"] = "memory"

    def __post_init__(self) -> None:
        require(0 < self.percent <= 95, "percent", self.percent, "above 0 and at most 95: beyond, others are killed")

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to use the target's memory."""
        if (missing := lacks_target(scene)) is not None:
            return missing
        group = memory_of(scene.pid).group
        writable = group is None or os.access(group / "cgroup.procs", os.W_OK)
        return None if writable else f"the right to add a process to {group}"

    def arm(self, scene: Scene) -> Armed:
        """Start a burden that waits."""
        memory = memory_of(scene.pid)
        where = "the host" if memory.group is None else "the control group"
        return burdened(scene, self.fault, self.percent, memory.percent, f"memory of {where} in use", every=0.1)


def lacks_target(scene: Scene) -> str | None:
    """Return what is missing to share the target's limits."""
    if scene.pid is None or process_of(scene.pid) is None:
        return "a target on this machine whose process is known (pid)"
    return None


def burdened(scene: Scene, kind: str, percent: float, read: Callable[[], float], what: str, *, every: float) -> Armed:
    """Return the fault of a process that holds a level once it is told to."""
    words = [kind, str(percent), *([] if scene.pid is None else [str(scene.pid)])]
    burden = subprocess.Popen(  # noqa: S603  the interpreter that runs us, and our own module
        [sys.executable, "-m", "quadra_matrix.chaos.faults.burden", *words],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    found, watch = process_of(burden.pid), Watch(read, scene.clock, every=every)

    def inject() -> None:
        assert burden.stdin is not None
        try:
            burden.stdin.write(b"go\n")
            burden.stdin.flush()
        except BrokenPipeError as ended:
            raise FaultFailed(kind, f"its process ended with {burden.wait()}") from ended
        watch.start()

    def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
        readings = watch.readings()[1:]  # the first one tells of the time before
        return dose.level(what, percent, readings[int(SETTLING * len(readings)) :])

    def close() -> None:
        watch.stop()
        assert burden.stdin is not None
        burden.stdin.close()
        burden.wait()

    return Armed(EndProcess(burden.pid, found.born if found else 0), inject, measured, close=close)
