"""Watch over a machine: start again what ended, write the history, until told to stop. What runs goes on without it."""

from __future__ import annotations

import logging
import signal
from types import FrameType

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.history import History, Recorder
from quadra_matrix.delivery.local import LocalEvidence, LocalTraffic, Machine
from quadra_matrix.errors import DeliveryError
from quadra_matrix.pids import this_process

log = logging.getLogger(__name__)

EVERY = 0.1
"""Seconds between two looks; the proxy sends requests elsewhere long before."""


def supervise(machine: Machine, clock: Clock = SYSTEM_CLOCK) -> None:
    """Tend a machine until SIGINT or SIGTERM, or until nothing should run here any more."""
    told: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    recorder = Recorder(History(machine.folder), LocalTraffic(machine), LocalEvidence(machine))
    machine.supervise(this_process())
    while not told and machine.is_set_up():
        try:
            machine.tend()
            recorder.look(clock.monotonic())
        except DeliveryError as failed:  # the next look may succeed; dying here would help nobody
            log.warning("%s", failed)
        clock.sleep(EVERY)
    if machine.is_set_up():
        machine.supervise(None)
