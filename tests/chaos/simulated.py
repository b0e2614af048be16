"""Services whose true state is known, for tests and the benchmark of verdicts."""

from __future__ import annotations

import random
from collections.abc import Callable

from quadra_matrix.chaos.samples import Sample

RATE = 20.0
"""Probes a second."""
Service = Callable[[random.Random, float], tuple[float, bool]]
"""Chance and the seconds since the lift in; seconds of an answer and whether it is good out."""


def healthy(chance: random.Random, at: float) -> tuple[float, bool]:
    """Answer in about 40 ms with a heavy tail; fail 0.2 %."""
    return chance.lognormvariate(-3.2, 0.35), chance.random() >= 0.002


def failing(share: float) -> Service:
    def answer(chance: random.Random, at: float) -> tuple[float, bool]:
        seconds, ok = healthy(chance, at)
        return seconds, ok and chance.random() >= share

    return answer


def slower(factor: float) -> Service:
    def answer(chance: random.Random, at: float) -> tuple[float, bool]:
        seconds, ok = healthy(chance, at)
        return factor * seconds, ok

    return answer


def one_slow_replica(chance: random.Random, at: float) -> tuple[float, bool]:
    seconds, ok = healthy(chance, at)
    return seconds + 0.4 * (chance.random() < 0.25), ok


def flapping(chance: random.Random, at: float) -> tuple[float, bool]:
    seconds, ok = healthy(chance, at)
    return seconds, ok and at % 10 >= 5


def back_after(outage: float) -> Service:
    def answer(chance: random.Random, at: float) -> tuple[float, bool]:
        seconds, ok = healthy(chance, at)
        return seconds, ok and at >= outage

    return answer


def samples(service: Service, chance: random.Random, count: int, start: float = 0.0) -> list[Sample]:
    """Return what probes see of a service from ``start`` on."""
    found = []
    for number in range(count):
        at = start + number / RATE
        seconds, ok = service(chance, at)
        found.append(Sample(at, seconds, ok))
    return found
