"""When to renew: early enough for retries, as the authority asks, the same on every host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.tls.renewal import (
    ASK_AGAIN,
    DAY,
    FIRST_PAUSE,
    HOUR,
    JITTER,
    LAST_CALL,
    LONGEST_PAUSE,
    MINUTE,
    NO_ATTEMPTS,
    SETTLING,
    SETTLING_PART,
    Attempts,
    Life,
    Standing,
    Window,
    ask_again_in,
    due_at,
    next_attempt,
    order_at,
    renewal_time,
    standing,
)

NOW = 1.8e9
LIFE = Life(NOW, NOW + 90 * DAY)

moments = st.floats(NOW - 400 * DAY, NOW + 400 * DAY)
lengths = st.floats(HOUR, 900 * DAY)
chances = st.floats(0.0, 1.0)
lives = st.builds(lambda begins, length: Life(begins, begins + length), moments, lengths)
windows = st.builds(lambda start, length: Window(start, start + length), moments, lengths)
tries = st.builds(Attempts, st.integers(0, 10_000), moments, moments)


# When it is due


@pytest.mark.parametrize(("days", "at"), [(90, 60), (47, 47 * 2 / 3), (10, 10 * 2 / 3), (6, 3), (1, 0.5)])
def test_two_thirds_of_the_life_are_used_and_half_of_a_short_one(days: float, at: float) -> None:
    assert renewal_time(0, days * DAY) == pytest.approx(at * DAY)


@given(lives, chances)
def test_without_a_window_it_is_due_a_little_before_its_time(life: Life, chance: float) -> None:
    due = due_at(life, None, chance)

    latest = renewal_time(life.begins, life.expires)
    assert latest - JITTER * life.length - 1 <= due <= latest


@given(lives, windows, chances)
def test_a_window_is_obeyed_unless_it_is_too_early_or_too_late(life: Life, window: Window, chance: float) -> None:
    due = due_at(life, window, chance)

    settled = life.begins + min(SETTLING, SETTLING_PART * life.length)
    last_call = life.expires - LAST_CALL * life.length
    assert settled <= due <= last_call + 1
    assert due in (settled, last_call) or window.start - 1 <= due <= window.end + 1


@given(lives, chances)
def test_a_window_that_is_always_in_the_past_does_not_order_without_end(life: Life, chance: float) -> None:
    window = Window(life.begins - 9 * DAY, life.begins - 8 * DAY)

    assert due_at(life, window, chance) - life.begins >= min(SETTLING, SETTLING_PART * life.length) - 1


@given(lives, st.none() | windows, chances)
def test_it_is_due_before_it_expires(life: Life, window: Window | None, chance: float) -> None:
    assert due_at(life, window, chance) < life.expires


@given(lives, windows, st.lists(chances, min_size=2, max_size=2))
def test_hosts_with_different_draws_renew_at_different_times(life: Life, window: Window, drawn: list[float]) -> None:
    early, late = sorted(drawn)

    assert due_at(life, window, early) <= due_at(life, window, late)


# When it may be tried


def test_the_first_order_waits_for_nothing() -> None:
    assert order_at(None, None, NO_ATTEMPTS, 0.5) <= 0.0


@given(tries, chances)
def test_an_order_never_comes_before_the_authority_is_ready(attempts: Attempts, chance: float) -> None:
    assert next_attempt(attempts, chance) >= attempts.not_before
    assert order_at(None, None, attempts, chance) >= attempts.not_before


@given(lives, st.none() | windows, tries, chances)
def test_an_order_comes_neither_before_it_is_due_nor_within_the_pause(
    life: Life, window: Window | None, attempts: Attempts, chance: float
) -> None:
    at = order_at(life, window, attempts, chance)

    assert at == max(due_at(life, window, chance), next_attempt(attempts, chance))


@pytest.mark.parametrize(("failures", "minutes"), [(1, 15), (2, 30), (3, 60), (6, 480), (7, 720), (5_000, 720)])
def test_pauses_double_up_to_twelve_hours(failures: int, minutes: float) -> None:
    assert next_attempt(Attempts(failures, last=NOW), 0.0) - NOW == minutes * MINUTE


@given(st.integers(1, 10_000), chances)
def test_a_pause_has_bounds(failures: int, chance: float) -> None:
    pause = next_attempt(Attempts(failures, last=NOW), chance) - NOW

    assert FIRST_PAUSE <= pause <= LONGEST_PAUSE * 1.1 + 1


def test_a_name_is_tried_at_most_four_times_an_hour() -> None:
    """Let's Encrypt refuses the sixth failed validation of a name in an hour."""
    now, tried = NOW, 0
    while now < NOW + HOUR:
        tried += 1
        now = next_attempt(Attempts(tried, last=now), 0.0)

    assert tried <= 4


def test_a_short_life_leaves_time_for_several_attempts() -> None:
    life = Life(NOW, NOW + 6 * DAY)
    now, tried = due_at(life, None, 0.0), 0
    while now < life.expires:
        tried += 1
        now = next_attempt(Attempts(tried, last=now), 1.0)

    assert tried >= 8


# When to ask for the window


@pytest.mark.parametrize(
    ("told", "waits"), [(None, ASK_AGAIN), (0, MINUTE), (90, 90), (7 * DAY, DAY), (float("inf"), DAY)]
)
def test_the_window_is_asked_for_between_every_minute_and_once_a_day(told: float | None, waits: float) -> None:
    assert ask_again_in(told) == waits


# When to worry


FAILED = Attempts(failures=1, last=NOW)


@pytest.mark.parametrize(
    ("day", "attempts", "stands"),
    [
        (0, NO_ATTEMPTS, Standing.GOOD),
        (59, FAILED, Standing.GOOD),
        (61, FAILED, Standing.LATE),
        (61, NO_ATTEMPTS, Standing.GOOD),
        (62, NO_ATTEMPTS, Standing.LATE),
        (89, NO_ATTEMPTS, Standing.LATE),
        (90, NO_ATTEMPTS, Standing.EXPIRED),
        (90, FAILED, Standing.EXPIRED),
    ],
)
def test_a_failure_shows_in_the_last_third(day: float, attempts: Attempts, stands: Standing) -> None:
    due = due_at(LIFE, None, 0.0)

    assert standing(LIFE, due, attempts, NOW + day * DAY) is stands


def test_a_late_window_of_the_authority_is_no_reason_to_worry() -> None:
    due = due_at(LIFE, Window(NOW + 80 * DAY, NOW + 82 * DAY), 0.0)

    assert standing(LIFE, due, NO_ATTEMPTS, NOW + 79 * DAY) is Standing.GOOD
    assert standing(LIFE, due, NO_ATTEMPTS, NOW + 83 * DAY) is Standing.LATE


def test_no_certificate_is_missing() -> None:
    assert standing(None, 0.0, NO_ATTEMPTS, NOW) is Standing.MISSING


@given(lives, st.none() | windows, tries, chances)
def test_worry_only_grows(life: Life, window: Window | None, attempts: Attempts, chance: float) -> None:
    due = due_at(life, window, chance)
    order = [Standing.GOOD, Standing.LATE, Standing.EXPIRED]

    seen = [standing(life, due, attempts, life.begins + life.length * part / 50) for part in range(60)]

    assert seen == sorted(seen, key=order.index)
    assert seen[0] is not Standing.EXPIRED
    assert seen[-1] is Standing.EXPIRED


# What makes no sense


@pytest.mark.parametrize("make", [Life, Window])
@pytest.mark.parametrize("second", [NOW, NOW - 1, float("nan")])
def test_a_time_that_ends_before_it_begins_is_refused(make: type[Life] | type[Window], second: float) -> None:
    with pytest.raises(InvalidValue):
        make(NOW, second)
