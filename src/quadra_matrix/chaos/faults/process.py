"""Faults of the target's process: halted, killed, or ended and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.faults.watch import Watch
from quadra_matrix.chaos.recovery import STRICT
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.chaos.undo import Resume, StartAgain
from quadra_matrix.errors import FaultFailed
from quadra_matrix.pids import Process, is_stopped, lives, process_of


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


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the target's process. It must be there again after the hold: by a supervisor, or by a command."""

    __pydantic_config__: ClassVar = STRICT

    signal: Literal["KILL", "TERM"] = "KILL"
    """TERM lets it end in order: a restart rather than a crash."""
    command: tuple[str, ...] = ()
    """Starts it again when the fault is lifted; empty where a supervisor does that."""
    folder: str = "."
    """Where the command runs."""
    mark: str = "quadra-data/chaos/started"
    """File that keeps the number of the process that the command started; its output goes beside it."""
    fault: Literal["kill"] = "kill"

    def lacks(self, scene: Scene) -> str | None:
        """Return what is missing to kill the process."""
        return lacks_process(scene)

    def arm(self, scene: Scene) -> Armed:
        """Find the process."""
        target = target_of(scene, self.fault)
        number = signal.Signals[f"SIG{self.signal}"]
        mark = Path(self.mark).absolute()
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.unlink(missing_ok=True)

        def inject() -> None:
            try:
                os.kill(target.pid, number)
            except OSError as failed:
                raise FaultFailed(self.fault, failed.strerror or str(failed)) from failed

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            return Dose("processes ended", "", 1, 0, float(not lives(target)))

        folder = str(Path(self.folder).absolute())
        return Armed(StartAgain(scene.address, self.command, folder, str(mark)), inject, measured)


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
