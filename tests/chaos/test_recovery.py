"""A service is called recovered when it is, and only then."""

from __future__ import annotations

import random

import pytest

from quadra_matrix.chaos.recovery import (
    Finding,
    Margins,
    Span,
    baseline_of,
    compare,
    fewest,
    impact,
    recovered,
)
from quadra_matrix.chaos.samples import Quantile, Sample, quantile, seconds_of
from quadra_matrix.errors import InvalidValue
from tests.chaos.simulated import (
    RATE,
    Service,
    back_after,
    failing,
    flapping,
    healthy,
    one_slow_replica,
    samples,
    slower,
)

MARGINS = Margins()
WINDOW = 600
DEADLINE = int(RATE * 60) + WINDOW
"""Samples until the time to recover is over, and a whole window."""


def verdict(service: Service, seed: int) -> Span | None:
    chance = random.Random(seed)
    baseline = baseline_of(samples(healthy, chance, WINDOW))
    assert baseline is not None
    return recovered(baseline, samples(service, chance, DEADLINE), MARGINS, window=WINDOW, since=0.0)


def test_a_healthy_service_has_recovered_at_once() -> None:
    found = [verdict(healthy, seed) for seed in range(100)]

    assert sum(span is None for span in found) <= 1
    assert sum(span is not None and span.high < 1 for span in found) >= 95


@pytest.mark.parametrize(
    "service",
    [failing(0.2), failing(0.05), slower(1.5), one_slow_replica, flapping],
    ids=["20 % errors", "5 % errors", "half as slow again", "one slow replica", "flapping"],
)
def test_a_service_that_is_not_as_before_has_not_recovered(service: Service) -> None:
    assert [seed for seed in range(40) if verdict(service, seed) is not None] == []


@pytest.mark.parametrize("outage", [0.3, 7.0, 30.0])
def test_the_moment_of_recovery_lies_in_its_interval(outage: float) -> None:
    found = verdict(back_after(outage), 3)

    assert found is not None
    assert found.low < outage <= found.high
    assert found.high - found.low < 2.5 / RATE


def test_an_impact_needs_more_than_one_bad_answer() -> None:
    chance = random.Random(1)
    baseline = baseline_of(samples(healthy, chance, WINDOW))
    assert baseline is not None
    once = [Sample(number / RATE, 0.04, number != 50) for number in range(100)]
    lasting = [Sample(number / RATE, 0.04, number < 50) for number in range(100)]

    assert impact(baseline, once, MARGINS, since=0.0) is None
    assert impact(baseline, lasting, MARGINS, since=0.0) == Span(49 / RATE, 50 / RATE)
    assert impact(baseline, lasting[50:], MARGINS, since=2.4) == Span(0.0, 50 / RATE - 2.4)


def test_too_few_samples_say_nothing() -> None:
    chance = random.Random(1)
    baseline = baseline_of(samples(healthy, chance, WINDOW))
    assert baseline is not None

    assert baseline_of(samples(healthy, chance, 10)) is None
    assert compare(baseline, [], MARGINS).finding is Finding.UNCLEAR
    assert compare(baseline, samples(healthy, chance, 40), MARGINS).finding is Finding.UNCLEAR
    assert compare(baseline, samples(failing(1.0), chance, 100), MARGINS).finding is Finding.WORSE
    assert recovered(baseline, samples(healthy, chance, WINDOW - 1), MARGINS, window=WINDOW, since=0.0) is None
    assert recovered(baseline, [], MARGINS, window=WINDOW, since=0.0) is None


def test_a_flawless_service_can_be_shown_to_be_one_on_the_fewest_samples() -> None:
    for margins in (MARGINS, Margins(errors=0.1), Margins(errors=0.005)):
        window = fewest(margins)
        flawless = [Sample(number / RATE, 0.04 + 1e-5 * (number % 7), True) for number in range(2 * window)]
        baseline = baseline_of(flawless[:window])
        assert baseline is not None

        assert recovered(baseline, flawless[window:], margins, window=window, since=0.0) is not None

    assert fewest(Margins(errors=0.005)) > fewest(MARGINS) > fewest(Margins(errors=0.1))


@pytest.mark.parametrize(
    ("options", "field"), [({"errors": 0.0}, "errors"), ({"median": 1.0}, "median"), ({"p95": 0.9}, "p95")]
)
def test_margins_that_nothing_can_meet_are_refused(options: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        Margins(**options)


def test_a_quantile_is_bounded_by_order_statistics_or_not_given() -> None:
    chance = random.Random(2)
    covered = 0
    for _ in range(400):
        found = quantile(sorted(chance.random() for _ in range(200)), 0.5)
        assert found is not None
        covered += found.low <= 0.5 <= found.high

    assert covered >= 0.87 * 400  # 95 % on each side
    assert quantile([1.0] * 10, 0.95) is None
    assert quantile([], 0.5) is None
    assert quantile([2.0] * 100, 0.5) == Quantile(2.0, 2.0, 2.0)
    assert seconds_of([Sample(0, 3, True), Sample(1, 1, False), Sample(2, 2, True)]) == [2, 3]
