"""The experiments that need no file: one kind of fault each, and the standard suite of four."""

from __future__ import annotations

from dataclasses import replace

from quadra_matrix.chaos import planfile
from quadra_matrix.chaos.listening import listener
from quadra_matrix.chaos.model import Experiment, Probing, Target
from quadra_matrix.errors import InvalidValue

BASE_URL = "http://localhost:5000"


def latency(milliseconds: float, target: Target, seconds: float, name: str = "latency_test") -> Experiment:
    """Return an experiment that holds every answer back."""
    fault = {"fault": "latency", "milliseconds": milliseconds}
    return _experiment(name, fault, target, seconds, timeout=max(5.0, 2 + milliseconds / 1000))


def resource(kind: str, percent: float, target: Target, seconds: float, name: str | None = None) -> Experiment:
    """Return an experiment that uses up ``cpu`` or ``memory``."""
    return _experiment(name or f"{kind}_test", {"fault": kind, "percent": percent}, target, seconds)


def standard(target: Target, seconds: float) -> tuple[Experiment, ...]:
    """Return the standard suite."""
    return (
        latency(500, target, seconds, "low_latency_test"),
        latency(2000, target, seconds, "high_latency_test"),
        resource("memory", 70, target, seconds, "memory_pressure_test"),
        resource("cpu", 80, target, seconds, "cpu_pressure_test"),
    )


def target_at(url: str, *, pid: int | None = None, path: str = "/health", environment: str = "development") -> Target:
    """Return what is tried at a base address; a service on this machine is found by its port.

    An address that names a path is probed there, and ``path`` otherwise.
    """
    base = url.rstrip("/")
    probed = base if base.count("/") > 2 or base.startswith("tcp://") else base + path
    target = Target(probed, pid, environment)
    return target if pid is not None else replace(target, pid=listener(target.address))


def _experiment(
    name: str, fault: dict[str, object], target: Target, seconds: float, timeout: float = 5.0
) -> Experiment:
    found = planfile.parse({"name": name, "faults": [fault]})
    if seconds <= 0:
        raise InvalidValue("duration", seconds, "above 0")
    return replace(found, target=target, hold=seconds, probing=Probing(timeout=timeout))
