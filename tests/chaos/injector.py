"""Runs one experiment as a program, so that a test can kill it: ``FAULT URL PID FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.files import OpenFiles
from quadra_matrix.chaos.faults.network import Away, Latency
from quadra_matrix.chaos.faults.port import Fault
from quadra_matrix.chaos.faults.pressure import Cpu
from quadra_matrix.chaos.faults.process import Pause
from quadra_matrix.chaos.interrupt import Interrupt, signals
from quadra_matrix.chaos.model import Experiment, Target
from quadra_matrix.events import Event
from quadra_matrix.events.chaos import FaultInjected
from tests.chaos.conftest import PATIENT, QUICK

FAULTS: dict[str, Fault] = {
    "away": Away(),
    "cpu": Cpu(5),
    "latency": Latency(300),
    "open-files": OpenFiles(),
    "pause": Pause(),
}


def say(event: Event) -> None:
    if isinstance(event, FaultInjected):
        sys.stdout.write("injected\n")
        sys.stdout.flush()


if __name__ == "__main__":
    fault, url, pid, folder = sys.argv[1:]
    plan = Experiment(
        "killed", (FAULTS[fault],), Target(url, int(pid)), hold=60, probing=QUICK, margins=PATIENT, lease=2.0
    )
    interrupt = Interrupt()
    with signals(interrupt):
        outcome = run(plan, Surroundings(Path(folder), say, interrupt))
    sys.exit(outcome.verdict.exit)
