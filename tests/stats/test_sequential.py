"""The tests without a plan: exact where they say so, true at every look, always numbers."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from quadra_matrix.errors import InvalidValue
from quadra_matrix.stats.arms import Alternative, Counts, Interval, Mean, Sums, mean_of
from quadra_matrix.stats.evidence import Evidence
from quadra_matrix.stats.sequential import confidence, converters, randomisation
from quadra_matrix.stats.sequential.confidence import Confidence
from quadra_matrix.stats.sequential.difference import Difference, of_means, of_rates
from quadra_matrix.stats.sequential.randomisation import Randomisation
from tests.stats.numbers import contains, counts, every_number_is_finite, means


def mean_bet(state: Randomisation, users: int, rate: float) -> float:
    """Return the expected growth of the e-value over the next ``users`` users, summed over every outcome."""
    total = 0.0
    for treated, hits in product(range(users + 1), repeat=2):
        for hits_t in range(max(0, hits - (users - treated)), min(hits, treated) + 1):
            chance = (
                math.comb(users, treated)
                * state.share**treated
                * (1 - state.share) ** (users - treated)
                * math.comb(treated, hits_t)
                * math.comb(users - treated, hits - hits_t)
                * rate**hits
                * (1 - rate) ** (users - hits)
            )
            after = randomisation.update(state, Counts(users - treated, hits - hits_t), Counts(treated, hits_t))
            total += chance * math.exp(after.evidence.log_e - state.evidence.log_e)
    return total


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_bet_of_the_randomisation_test_is_fair_under_the_null(rate: float, share: float) -> None:
    """Exactly: every outcome of 4 users is summed. This is what makes it true at any look."""
    taught = randomisation.update(Randomisation(share=share, planned=100), Counts(30, 2), Counts(20, 9))

    assert mean_bet(taught, 4, rate) == pytest.approx(1.0, rel=1e-12)


def test_the_first_look_only_teaches() -> None:
    state = randomisation.update(Randomisation(), Counts(100, 1), Counts(100, 90))

    assert state.evidence == Evidence()
    assert (state.control, state.treatment) == (Counts(100, 1), Counts(100, 90))


def test_an_effect_is_found_and_stays_found() -> None:
    state = Randomisation(planned=2000)
    for _ in range(20):
        state = randomisation.update(state, Counts(50, 5), Counts(50, 15))

    assert state.evidence.rejects(0.001)
    assert state.evidence.p_value == pytest.approx(math.exp(-state.evidence.peak))


@pytest.mark.parametrize(("control", "treatment", "share"), [(3, 9, 0.5), (40, 1, 0.05), (0, 2, 0.5), (0, 0, 0.2)])
def test_the_converters_e_value_is_the_beta_binomial_ratio(control: int, treatment: int, share: float) -> None:
    weight = 1000 / 7.936
    total = control + treatment
    mixture = betabinom.logpmf(treatment, total, weight * share, weight * (1 - share))
    null = treatment * math.log(share) + control * math.log(1 - share) + math.log(math.comb(total, treatment))

    assert converters.log_e(control, treatment, share=share, planned=1000) == pytest.approx(mixture - null, abs=1e-3)


def test_the_converters_e_value_averages_1_under_the_null() -> None:
    ratio, share, total = 1.4, 0.3, 60
    chance = share * ratio / (share * ratio + 1 - share)

    average = sum(
        math.comb(total, x)
        * chance**x
        * (1 - chance) ** (total - x)
        * math.exp(converters.log_e(total - x, x, share=share, ratio=ratio))
        for x in range(total + 1)
    )

    assert average == pytest.approx(1.0, rel=1e-9)


def test_the_interval_of_the_ratio_ends_where_the_test_refutes() -> None:
    found = converters.interval(200, 290, share=0.5)

    assert contains(found, 1.45)
    assert [converters.log_e(200, 290, ratio=limit) for limit in (found.low, found.high) if limit] == pytest.approx(
        [math.log(20)] * 2, rel=1e-6
    )


def test_arms_without_converters_limit_one_side() -> None:
    assert converters.interval(0, 0) == Interval(0.0, None)
    assert converters.interval(50, 0).low == 0.0
    assert converters.interval(0, 50).high is None
    assert contains(Interval(1.1, 1.3), converters.interval(0, 50).low)


def test_the_difference_of_rates_is_pooled_under_the_null() -> None:
    found = of_rates(Counts(900, 45), Counts(100, 8))

    assert found.value == pytest.approx(0.03)
    assert found.error == pytest.approx(math.sqrt(0.053 * 0.947 * (1 / 900 + 1 / 100)))
    assert found.z(0.03) == pytest.approx(0)


@pytest.mark.parametrize("control", [Mean(10, 1.0, 4.0), Mean(10, 1.0, 40.0)])
def test_the_difference_of_means_takes_the_larger_error(control: Mean) -> None:
    treatment = Mean(30, 2.0, 9.0)
    assert control.variance is not None
    pooled = math.sqrt((9 * control.variance + 29 * 9) / 38 * (1 / 10 + 1 / 30))
    separate = math.sqrt(control.variance / 10 + 9 / 30)

    assert of_means(control, treatment).error == pytest.approx(max(pooled, separate))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (of_rates(Counts(0, 0), Counts(1, 1)), "an arm is empty"),
        (of_rates(Counts(3, 0), Counts(2, 0)), "nobody or everybody"),
        (of_means(mean_of(Sums(1, 1, 1)), Mean(5, 1.0, 1.0)), "at least 2 units"),
        (of_means(Mean(5, 1.0, 0.0), Mean(5, 1.0, 0.0)), "does not vary"),
    ],
)
def test_an_undefined_difference_says_why_and_so_does_its_interval(found: Difference, reason: str) -> None:
    state = confidence.look(Confidence(), found)

    assert found.z() is None
    assert found.reason is not None
    assert reason in found.reason
    assert (state.reason, state.interval) == (found.reason, None)


def test_the_confidence_sequence_is_the_published_one() -> None:
    """arXiv:2103.06476, eq. 9 and 155, by hand."""
    found = confidence.look(Confidence(planned=1000), Difference(500, 0.3, 0.1))

    rho2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 1000
    t = 500 * rho2
    reach = 0.1 * math.sqrt(2 * (1 + t) / t * (math.log(20) + 0.5 * math.log1p(t)))
    assert found.interval == Interval(pytest.approx(0.3 - reach), pytest.approx(0.3 + reach))
    assert found.evidence.log_e == pytest.approx(9 * t / (2 * (1 + t)) - 0.5 * math.log1p(t))


@pytest.mark.parametrize(("alternative", "limit"), [(Alternative.GREATER, "low"), (Alternative.LESS, "high")])
def test_a_one_sided_sequence_refutes_a_margin_exactly_when_its_limit_passes_it(
    alternative: Alternative, limit: str
) -> None:
    seen = Difference(5000, 0.3, 0.1)
    edge = getattr(confidence.look(Confidence(alternative=alternative), seen).interval, limit)

    at_the_edge = confidence.look(Confidence(alternative=alternative, margin=edge), seen)

    assert at_the_edge.evidence.log_e == pytest.approx(math.log(20), rel=1e-6)
    two_sided = confidence.look(Confidence(), seen).interval
    assert abs(edge - 0.3) < abs(getattr(two_sided, limit) - 0.3)


def test_a_one_sided_sequence_is_nothing_against_the_other_side() -> None:
    seen = [Difference(5000, value, 0.1) for value in (-1.0, -2.99, -3.01, -1e200)]

    logs = [confidence.look(Confidence(alternative=Alternative.GREATER), one).evidence.log_e for one in seen]

    assert logs == sorted(logs, reverse=True)
    assert logs[0] < -1


@pytest.mark.parametrize(
    ("early", "late", "reason"),
    [
        (Difference(9000, 0.5, 0.1, events=24), Difference(9000, 0.5, 0.1, events=25), "24 of the first 25 conv"),
        (Difference(999, 0.5, 0.1), Difference(1000, 0.5, 0.1), "999 of the first 1000 users"),
    ],
)
def test_nothing_is_declared_before_the_burn_in(early: Difference, late: Difference, reason: str) -> None:
    before = confidence.look(Confidence(), early)

    assert before.evidence == Evidence()
    assert before.interval is None
    assert before.reason is not None
    assert before.reason.startswith(reason)
    assert confidence.look(before, late).reason is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Randomisation(share=0),
        lambda: Randomisation(planned=0),
        lambda: Confidence(alpha=1),
        lambda: converters.log_e(-1, 2),
        lambda: converters.log_e(1, -2),
        lambda: converters.log_e(1, 2, ratio=0),
        lambda: converters.interval(1, 2, share=1),
    ],
)
def test_impossible_options_are_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(InvalidValue):
        build()


@given(st.lists(st.tuples(counts(), counts()), max_size=5), st.floats(0.001, 0.999), st.integers(1, 10**12))
def test_the_randomisation_test_always_gives_numbers(
    looks: list[tuple[Counts, Counts]], share: float, planned: int
) -> None:
    state = Randomisation(share=share, planned=planned)
    for control, treatment in looks:
        state = randomisation.update(state, control, treatment)

        assert every_number_is_finite(state)
        assert 0 <= state.evidence.p_value <= 1


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0.001, 0.999), st.floats(1e-9, 1e9))
def test_the_converters_test_always_gives_numbers(control: int, treatment: int, share: float, ratio: float) -> None:
    assert every_number_is_finite(converters.log_e(control, treatment, share=share, ratio=ratio))
    found = converters.interval(control, treatment, share=share)
    assert every_number_is_finite(found)
    if control and treatment:
        assert contains(found, treatment / control * (1 - share) / share)


@given(counts(), counts(), st.sampled_from(Alternative), st.floats(-0.99, 0.99))
def test_the_sequence_of_rates_always_gives_numbers(c: Counts, t: Counts, side: Alternative, margin: float) -> None:
    state = confidence.look(Confidence(alternative=side, margin=margin), of_rates(c, t, margin=margin))

    assert every_number_is_finite(state)
    assert (state.interval is None) == (state.reason is not None)


@given(means(), means(), st.sampled_from(Alternative))
def test_the_sequence_of_means_always_gives_numbers(c: Mean, t: Mean, side: Alternative) -> None:
    state = confidence.look(Confidence(alternative=side), of_means(c, t))

    assert every_number_is_finite(state)
    assert (state.interval is None) == (state.reason is not None)
