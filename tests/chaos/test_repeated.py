"""Several runs say more than one, and say when they are too few."""

from __future__ import annotations

import random
from math import inf

import pytest

from quadra_matrix.chaos.outcome import Outcome, Times, Verdict
from quadra_matrix.chaos.recovery import Span
from quadra_matrix.chaos.repeated import Gate, gate_of, repeated


def outcome(seconds: float | None) -> Outcome:
    span = None if seconds is None else Span(seconds - 0.1, seconds)
    verdict = Verdict.NOT_RECOVERED if span is None else Verdict.RECOVERED
    return Outcome("x", "run", verdict, "", times=Times(to_recover=span))


@pytest.mark.parametrize(
    ("passed", "runs", "expected"),
    [
        (59, 59, Gate.MET),
        (58, 58, Gate.INSUFFICIENT),
        (1, 1, Gate.INSUFFICIENT),
        (0, 2, Gate.MISSED),
        (8, 10, Gate.INSUFFICIENT),
        (7, 10, Gate.MISSED),
        (200, 200, Gate.MET),
    ],
)
def test_the_gate_needs_enough_runs(passed: int, runs: int, expected: Gate) -> None:
    assert gate_of(passed, runs) is expected


def test_the_median_has_an_interval_that_holds_it() -> None:
    chance = random.Random(1)

    found = repeated([outcome(chance.uniform(1, 3)) for _ in range(20)], chance.random)

    assert found.interval.low is not None
    assert found.interval.high is not None
    assert 1 <= found.interval.low <= found.median <= found.interval.high <= found.longest <= 3
    assert "20 of 20 runs passed" in str(found)


def test_a_run_that_never_recovered_is_the_longest() -> None:
    found = repeated([outcome(1.0), outcome(None), outcome(None)], random.Random(1).random)

    assert found.passed == 1
    assert found.longest == found.median == inf
    assert found.interval.high is None
    assert "never" in str(found)
    assert found.gate is Gate.MISSED
