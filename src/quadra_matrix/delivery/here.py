"""This machine as the ground of a site."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.fleet import Command
from quadra_matrix.delivery.history import History
from quadra_matrix.delivery.local import LocalEvidence, LocalTraffic, LocalWorkload, Machine
from quadra_matrix.delivery.outside import World
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.prometheus import evidence_of
from quadra_matrix.delivery.site import Ground
from quadra_matrix.delivery.state import FileState


def ground(folder: Path, clock: Clock = SYSTEM_CLOCK) -> Ground:
    """Return this machine as it is set up in ``folder``."""
    machine = Machine(folder, clock)
    workload = LocalWorkload(machine)

    def declare(plan: Plan, version: str, command: Command | None) -> None:
        if command is not None or not machine.knows(version):
            machine.declare(version, command)

    return Ground(
        traffic=LocalTraffic(machine),
        workload=workload,
        state=FileState(folder),
        outside=World(clock),
        evidence=lambda plan: evidence_of(plan, LocalEvidence(machine), workload),
        declare=declare,
        history=lambda: History(machine.folder).ticks(),
    )
