"""How long a response asks to be left alone."""

from __future__ import annotations

from email.utils import formatdate
from types import SimpleNamespace

import pytest

from quadra_matrix.breaker import RetryAfter
from quadra_matrix.testing import FakeClock

CLOCK = FakeClock()


def response(value: str | None) -> SimpleNamespace:
    return SimpleNamespace(headers={} if value is None else {"Retry-After": value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("-5", 0.0),
        (formatdate(CLOCK.now() + 90, usegmt=True), 90.0),
        (formatdate(CLOCK.now() + 90), 90.0),
        (formatdate(CLOCK.now() - 90, usegmt=True), 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_the_header_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    read = RetryAfter(CLOCK)

    assert read(response(value)) == seconds
    assert read(SimpleNamespace(response=response(value))) == seconds


def test_what_has_no_headers_asks_for_nothing() -> None:
    assert RetryAfter()(ValueError("x")) is None


def test_two_readers_are_the_same_option() -> None:
    assert RetryAfter() == RetryAfter()
