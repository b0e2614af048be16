"""Faults of the target's process: halted, or killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.faults.watch import Watch
from quadra_matrix.chaos.recovery import STRICT
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import Resume
from quadra_matrix.errors import FaultFailed
from quadra_matrix.pids import Process, is_stopped, process_of


@dataclass(frozen=True, slots=True)
class Pause:
    """Halt the target's process: it keeps its connections and answers nobody."""

    __pydantic_config__: ClassVar = STRICT

    fault: Literal["pause"] = "pause"

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to halt the process."""
        return lacks_process(scene)

    def arm(self, scene: Scene) -> Armed:
        """Find the process."""
        target = target_of(scene, self.fault)
        watch = Watch(lambda: 100.0 * is_stopped(target), scene.clock)

        def inject() -> None:
            halt(target, self.fault)
            watch.start()

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            return dose.level("time halted", 100.0, watch.readings())

        return Armed(Resume(target.pid, target.born), inject, measured, close=watch.stop)


def halt(target: Process, fault: str) -> None:
    """Send SIGSTOP."""
    try:
        os.kill(target.pid, signal.SIGSTOP)
    except OSError as failed:
        raise FaultFailed(fault, failed.strerror or str(failed)) from failed


def lacks_process(scene: Scene) -> str | None:
    """Return what is missing to send signals to the target."""
    if scene.pid is None:
        return "the target's process number (pid)"
    if process_of(scene.pid) is None:
        return f"a running process {scene.pid}"
    try:
        os.kill(scene.pid, 0)
    except PermissionError:
        return f"the right to signal process {scene.pid}"
    return None


def target_of(scene: Scene, fault: str) -> Process:
    """Return the target's process."""
    found = None if scene.pid is None else process_of(scene.pid)
    if found is None:
        raise FaultFailed(fault, f"process {scene.pid} does not run")
    return found
