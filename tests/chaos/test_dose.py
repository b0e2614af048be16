"""A fault that did not arrive is never called one."""

from __future__ import annotations

import random

import pytest

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Delivery, Dose
from quadra_matrix.chaos.model import Expectation
from quadra_matrix.chaos.outcome import Verdict, verdict_of
from quadra_matrix.chaos.recovery import Finding, Judged, Span
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.stats.arms import Counts
from tests.chaos.simulated import healthy, samples

SAME, WORSE, UNCLEAR = (Judged(finding, "why") for finding in (Finding.SAME, Finding.WORSE, Finding.UNCLEAR))


def held(by: float, seed: int = 1) -> list[Sample]:
    return [Sample(sample.at, sample.seconds + by, sample.ok) for sample in samples(healthy, random.Random(seed), 300)]


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [(0.5, Delivery.DELIVERED), (0.0, Delivery.UNDER), (0.3, Delivery.UNDER), (0.9, Delivery.OVER)],
)
def test_added_latency_is_the_difference_of_medians(arrived: float, expected: Delivery) -> None:
    found = dose.added_latency(0.5, held(0.0), held(arrived, 2))

    assert found.delivery is expected
    assert found.delivered == pytest.approx(1000 * arrived, abs=5)
    assert "p99" in str(found)


def test_no_samples_are_no_dose() -> None:
    for found in (
        dose.added_latency(0.5, held(0.0), []),
        dose.added_latency(0.5, [], held(0.5)),
        dose.share("hit", 0.3, Counts(0, 0)),
        dose.share_held(0.3, 0.2, [], held(0.5)),
        dose.level("CPU", 80, []),
    ):
        assert found.delivery is Delivery.UNMEASURED
        assert "not measured" in str(found)


@pytest.mark.parametrize(
    ("hits", "expected"), [(120, Delivery.DELIVERED), (0, Delivery.UNDER), (40, Delivery.UNDER), (300, Delivery.OVER)]
)
def test_a_share_is_judged_by_its_interval(hits: int, expected: Delivery) -> None:
    assert dose.share("hit", 0.3, Counts(400, hits)).delivery is expected


def test_the_share_held_back_is_told_from_slow_answers() -> None:
    during = [*held(0.5)[:90], *held(0.0, 2)[:210]]

    found = dose.share_held(0.3, 0.5, held(0.0, 3), during)

    assert found.delivered == pytest.approx(30, abs=1)


def test_a_level_is_the_mean_of_its_readings() -> None:
    assert dose.level("CPU", 80, [79, 80, 81]).delivery is Delivery.DELIVERED
    assert dose.level("CPU", 80, [40, 41, 42]).delivery is Delivery.UNDER
    assert dose.level("CPU", 80, [100]).delivery is Delivery.OVER
    assert "[" not in str(Dose("CPU", "%", 80, 5, 79))


@pytest.mark.parametrize(
    ("arrived", "tolerance", "expect", "to_recover", "expected"),
    [
        (0.0, SAME, Expectation.RECOVERS, Span(0, 1), Verdict.INVALID),
        (80.0, SAME, Expectation.TOLERATES, None, Verdict.TOLERATED),
        (80.0, WORSE, Expectation.TOLERATES, Span(0, 1), Verdict.DEVIATED),
        (80.0, UNCLEAR, Expectation.TOLERATES, Span(0, 1), Verdict.DEVIATED),
        (80.0, WORSE, Expectation.RECOVERS, Span(0, 1), Verdict.RECOVERED),
        (80.0, WORSE, Expectation.RECOVERS, Span(59, 61), Verdict.NOT_RECOVERED),
        (80.0, WORSE, Expectation.RECOVERS, None, Verdict.NOT_RECOVERED),
    ],
)
def test_the_verdict(
    arrived: float, tolerance: Judged, expect: Expectation, to_recover: Span | None, expected: Verdict
) -> None:
    doses = (Dose("CPU", "%", 80, 5, arrived),)

    verdict, because = verdict_of(expect, doses, tolerance, to_recover, rto=60)

    assert verdict is expected
    assert because


def test_every_verdict_has_its_exit_code() -> None:
    codes = {verdict.value: verdict.exit for verdict in Verdict}

    assert codes == {
        "tolerated": 0,
        "recovered": 0,
        "deviated": 1,
        "not recovered": 1,
        "stopped": 1,
        "not steady": 3,
        "invalid": 4,
        "fault remains": 5,
        "refused": 6,
        "skipped": 7,
        "interrupted": 130,
        "terminated": 143,
    }
    assert [verdict for verdict in Verdict if verdict.is_pass] == [Verdict.TOLERATED, Verdict.RECOVERED]
