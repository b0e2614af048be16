"""Every rule agrees with a list of all calls that is searched again after each of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.breaker.window import BUCKETS, FailureCount, FailureRate, Rule, SlowCallRate, Tally
from quadra_matrix.errors import InvalidValue


@dataclass(frozen=True)
class Call:
    at: float
    failed: bool
    elapsed: float


def naive(rule: Rule, calls: list[Call]) -> bool:
    """Decide by looking at every call."""
    if rule.calls is not None:
        window = calls[-rule.calls :]
    else:
        assert rule.seconds is not None
        width = rule.seconds / BUCKETS
        window = [call for call in calls if call.at // width > calls[-1].at // width - BUCKETS]
    marked = sum(rule.marks(call.failed, call.elapsed) for call in window)
    return rule.is_broken(marked, len(window))


spans = st.one_of(
    st.builds(lambda calls: {"calls": calls}, st.integers(5, 12)),
    st.builds(lambda seconds: {"seconds": seconds}, st.sampled_from([1.0, 10.0, 64.0])),
)
least = st.integers(1, 5)
rules: st.SearchStrategy[Rule] = st.one_of(
    st.builds(lambda span, failures: FailureCount(failures, **span), spans, st.integers(1, 5)),
    st.builds(
        lambda span, rate, least: FailureRate(rate, minimum=least, **span),
        spans,
        st.sampled_from([0.1, 0.3, 0.5, 1.0]),
        least,
    ),
    st.builds(
        lambda span, rate, least: SlowCallRate(rate, slower_than=1.0, minimum=least, **span),
        spans,
        st.sampled_from([0.3, 0.8]),
        least,
    ),
)
steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.7, 3.0, 9.0, 30.0]), st.booleans(), st.sampled_from([0.1, 1.0, 2.0])),
    max_size=60,
)


@given(rules, steps)
def test_a_tally_breaks_exactly_when_the_list_of_all_calls_does(
    rule: Rule, steps: list[tuple[float, bool, float]]
) -> None:
    tally, calls, now = Tally(rule), list[Call](), 1000.0

    for wait, failed, elapsed in steps:
        now += wait
        calls.append(Call(now, failed, elapsed))

        assert tally.record(len(calls), now, failed=failed, elapsed=elapsed) == naive(rule, calls)


@given(rules, steps)
def test_successes_that_are_not_told_while_quiet_change_no_verdict(
    rule: Rule, steps: list[tuple[float, bool, float]]
) -> None:
    """What the wrapper does: a fast success within the turn of a quiet window is only counted."""
    tally, calls, now, quiet, is_broken = Tally(rule), list[Call](), 1000.0, True, False

    for wait, failed, elapsed in steps:
        now += wait
        calls.append(Call(now, failed, elapsed))
        is_skipped = quiet and not failed and elapsed < 1.0 and now < tally.window.turn
        if not is_skipped:
            is_broken = tally.record(len(calls), now, failed=failed, elapsed=elapsed)
            quiet = tally.is_quiet(len(calls))
        if is_broken:
            assert naive(rule, calls)
            return

        assert not naive(rule, calls)


@given(rules, steps, steps)
def test_a_tally_goes_on_after_dump_and_load(
    rule: Rule, before: list[tuple[float, bool, float]], after: list[tuple[float, bool, float]]
) -> None:
    tally, now, number = Tally(rule), 1000.0, 0
    for wait, failed, elapsed in before:
        now, number = now + wait, number + 1
        tally.record(number, now, failed=failed, elapsed=elapsed)
    copy = Tally(rule)
    copy.load(tally.dump())

    for wait, failed, elapsed in after:
        now, number = now + wait, number + 1

        assert tally.record(number, now, failed=failed, elapsed=elapsed) == copy.record(
            number, now, failed=failed, elapsed=elapsed
        )


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: FailureCount(0, calls=5), "failures"),
        (lambda: FailureCount(5, calls=4), "calls"),
        (lambda: FailureCount(5), "calls"),
        (lambda: FailureCount(5, calls=5, seconds=1.0), "calls"),
        (lambda: FailureRate(0.0, calls=20), "rate"),
        (lambda: FailureRate(1.1, calls=20), "rate"),
        (lambda: FailureRate(0.5, calls=20, minimum=0), "minimum"),
        (lambda: FailureRate(0.5, calls=20, minimum=21), "minimum"),
        (lambda: FailureRate(0.5, seconds=0.0), "seconds"),
        (lambda: SlowCallRate(0.5, slower_than=0.0, calls=20), "slower_than"),
    ],
)
def test_a_bad_rule_is_refused_by_name(make: object, field: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidValue, match=field):
        make()


def test_rules_read_as_sentences() -> None:
    assert str(FailureCount(3, calls=10)) == "3 failures in the last 10 calls"
    assert str(FailureRate(0.5, seconds=60)) == "50% of the last 60 s failed"
    assert str(SlowCallRate(0.8, slower_than=2, calls=20)) == "80% of the last 20 calls took 2 s or more"


def test_an_unused_window_holds_no_calls() -> None:
    assert Tally(FailureRate(0.5, seconds=10)).window.calls(0) == 0
