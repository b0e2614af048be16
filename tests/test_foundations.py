"""Errors, clock, events and the fakes for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import InvalidValue, MissingExtra, QuadraError, require
from quadra_matrix.events import Event, fan_out, ignore
from quadra_matrix.testing import FakeClock, RecordingHook


@dataclass(frozen=True, slots=True)
class Rang(Event):
    times: int


def test_a_broken_rule_names_field_value_and_rule() -> None:
    with pytest.raises(InvalidValue, match=r"cooldown is -1; it must be above 0") as caught:
        require(False, "cooldown", -1, "above 0")

    assert (caught.value.field, caught.value.value, caught.value.rule) == ("cooldown", -1, "above 0")
    assert isinstance(caught.value, QuadraError)


def test_a_kept_rule_is_silent() -> None:
    require(True, "cooldown", 1, "above 0")


def test_a_missing_extra_says_what_to_install() -> None:
    assert "pip install 'quadra-matrix[redis]'" in str(MissingExtra("redis", "redis"))


def test_a_listener_that_raises_is_logged_and_the_others_hear(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(event: Event) -> None:
        raise RuntimeError("listener bug")

    heard = RecordingHook()

    with caplog.at_level(logging.ERROR):
        fan_out(breaks, heard, ignore)(Rang(times=2))

    assert heard.of(Rang) == [Rang(times=2)]
    assert "a listener failed on Rang" in caplog.text


def test_the_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(now=100.0, monotonic=5.0)

    clock.sleep(2.5)
    clock.step_wall(-60)

    assert (clock.now(), clock.monotonic(), clock.slept) == (42.5, 7.5, [2.5])


def test_the_fake_clock_refuses_to_go_back() -> None:
    with pytest.raises(InvalidValue, match="seconds is -1"):
        FakeClock().advance(-1)


def test_the_system_clock_tells_time() -> None:
    assert SYSTEM_CLOCK.now() > 1_700_000_000
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
