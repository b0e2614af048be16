"""The breaker users hold: what callers get, what is counted, what is announced."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from typing import Any

import pytest

from quadra_matrix.breaker import BREAKERS, CircuitBreaker, FailureRate, Mode, Registry, SlowCallRate
from quadra_matrix.breaker.options import BreakerKeywords, BreakerOptions
from quadra_matrix.errors import CircuitBreakerError, CircuitConflict, CircuitUnknown, InvalidValue
from quadra_matrix.events import Event
from quadra_matrix.events.breaker import CircuitClosed, CircuitHalfOpened, CircuitOpened, CircuitOverridden
from quadra_matrix.testing import FakeClock, RecordingHook


class Down(Exception):
    """What a dependency raises when it is down."""


def fail(error: BaseException | None = None) -> None:
    raise error if error is not None else Down("no answer")


def answer(value: object = 42) -> object:
    return value


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hook() -> RecordingHook:
    return RecordingHook()


@pytest.fixture
def make(clock: FakeClock, hook: RecordingHook) -> Callable[..., CircuitBreaker]:
    def make(threshold: int | None = 2, recovery: float = 10, **options: Any) -> CircuitBreaker:
        fitted = {"clock": clock, "hook": hook, "registry": None, **options}
        return CircuitBreaker("db", threshold, recovery, **fitted)

    return make


Make = Callable[..., CircuitBreaker]


def trip(breaker: CircuitBreaker, failures: int = 2) -> None:
    for _ in range(failures):
        with pytest.raises(Down):
            breaker.call(fail)
    assert breaker.state == "open"


# What callers get


def test_the_tripping_caller_gets_its_own_exception_and_the_next_is_refused(make: Make) -> None:
    breaker = make()
    trip(breaker)

    with pytest.raises(CircuitBreakerError) as refused:
        breaker.call(answer)

    error = refused.value
    assert (error.name, error.state, error.retry_after) == ("db", "open", 10.0)
    assert isinstance(error.last_failure, Down)
    assert error.__cause__ is error.last_failure
    assert str(error) == "circuit 'db' is open for another 10.0 s"


def test_a_refused_caller_in_half_open_learns_the_state(make: Make, clock: FakeClock) -> None:
    breaker = make()
    trip(breaker)
    clock.advance(10)

    with breaker, pytest.raises(CircuitBreakerError) as refused:
        breaker.call(answer)

    assert (refused.value.state, refused.value.retry_after) == ("half_open", 10.0)
    assert breaker.state == "closed"


def test_a_forced_open_circuit_names_no_wait(make: Make) -> None:
    breaker = make()
    breaker.force_open()

    with pytest.raises(CircuitBreakerError, match="until an operator closes it") as refused:
        breaker.call(answer)

    assert refused.value.retry_after is None
    assert refused.value.last_failure is None


def test_the_error_survives_pickle(make: Make) -> None:
    error = CircuitBreakerError("db", "open", 3.5)

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.name, copy.state, copy.retry_after) == ("db", "open", 3.5)


def test_every_refusal_is_a_new_error(make: Make) -> None:
    breaker = make()
    trip(breaker)
    errors = []
    for _ in range(3):
        with pytest.raises(CircuitBreakerError) as refused:
            breaker.call(answer)
        errors.append(refused.value)

    assert len({id(error) for error in errors}) == 3


@pytest.mark.parametrize("fallback", [lambda: "cached", lambda error: f"cached {error.name}"], ids=["none", "error"])
def test_a_fallback_answers_a_refused_call(make: Make, fallback: Callable[..., str]) -> None:
    breaker = make()
    trip(breaker)

    assert str(breaker.call(answer, fallback=fallback)).startswith("cached")


def test_a_fallback_does_not_replace_the_exception_of_a_call_that_ran(make: Make) -> None:
    with pytest.raises(Down):
        make().call(fail, fallback=answer)


def test_arguments_pass_through(make: Make) -> None:
    assert make().call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)


# What counts


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError(), CancelledError()], ids=repr
)
def test_interruption_and_cancellation_are_never_failures(make: Make, error: BaseException) -> None:
    breaker = make(threshold=1)

    with pytest.raises(type(error)):
        breaker.call(fail, error)

    assert breaker.state == "closed"
    assert breaker.snapshot().ignored == 1
    assert breaker.snapshot().calls == 0


def test_a_time_out_inside_the_call_is_a_failure(make: Make) -> None:
    breaker = make(threshold=1)

    with pytest.raises(TimeoutError):
        breaker.call(fail, TimeoutError())

    assert breaker.state == "open"


@pytest.mark.parametrize(
    "options",
    [
        {"ignored_types": (LookupError,)},
        {"failure_types": (Down,)},
        {"is_failure": lambda error: not isinstance(error, KeyError)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_ignored_exceptions_count_neither_way(make: Make, options: dict[str, Any]) -> None:
    breaker = make(**options)
    with pytest.raises(Down):
        breaker.call(fail)
    with pytest.raises(KeyError):
        breaker.call(fail, KeyError("x"))

    with pytest.raises(Down):
        breaker.call(fail)

    assert breaker.state == "open", "an ignored exception must not break the row of failures"
    assert breaker.snapshot().ignored == 1


def test_an_ignored_probe_gives_the_permit_back(make: Make, clock: FakeClock) -> None:
    breaker = make(ignored_types=(KeyError,))
    trip(breaker)
    clock.advance(10)
    with pytest.raises(KeyError):
        breaker.call(fail, KeyError("x"))
    assert breaker.state == "half_open"

    assert breaker.call(answer) == 42

    assert breaker.state == "closed"


def test_a_result_may_count_as_a_failure_and_is_returned_unchanged(make: Make) -> None:
    breaker = make(is_failed_result=lambda status: status == 503)

    assert [breaker.call(answer, status) for status in (200, 503, 200, 503, 503)] == [200, 503, 200, 503, 503]

    assert breaker.state == "open"
    assert breaker.snapshot().last_failure == "503"
    with pytest.raises(CircuitBreakerError) as refused:
        breaker.call(answer)
    assert refused.value.last_failure is None


@pytest.mark.parametrize("option", ["is_failure", "is_failed_result", "open_time_of"])
def test_a_predicate_that_raises_is_logged_and_the_caller_keeps_its_result(
    make: Make, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(value: object) -> bool:
        raise ZeroDivisionError

    breaker = make(threshold=1, **{option: broken})

    assert breaker.call(answer) == 42
    with pytest.raises(Down):
        breaker.call(fail)

    assert breaker.state == "open"
    assert "ZeroDivisionError" in caplog.text


def test_the_open_time_may_come_from_the_failure(make: Make) -> None:
    breaker = make(threshold=1, open_time_of=lambda error: 99.0)
    trip(breaker, 1)

    with pytest.raises(CircuitBreakerError) as refused:
        breaker.call(answer)

    assert refused.value.retry_after == 99.0


@pytest.mark.parametrize("way", ["call", "decorated", "with"])
def test_slow_calls_open_the_circuit(make: Make, clock: FakeClock, way: str) -> None:
    breaker = make(rules=[SlowCallRate(1.0, slower_than=2, calls=3, minimum=3)])

    def slow() -> None:
        clock.advance(2)

    decorated = breaker(slow)
    for _ in range(3):
        if way == "call":
            breaker.call(slow)
        elif way == "decorated":
            decorated()
        else:
            with breaker:
                slow()

    assert breaker.state == "open"
    assert breaker.snapshot().slow == 3


@pytest.mark.parametrize("judged", [False, True])
def test_a_time_window_forgets(make: Make, clock: FakeClock, judged: bool) -> None:
    options: dict[str, Any] = {"is_failed_result": lambda result: False} if judged else {}
    breaker = make(threshold=None, rules=[FailureRate(0.5, seconds=10, minimum=4)], **options)
    guarded, broken = breaker(answer), breaker(fail)
    for _ in range(4):
        guarded()
    for _ in range(3):
        with pytest.raises(Down):
            broken()
    clock.advance(11)
    for _ in range(4):
        guarded()

    with pytest.raises(Down):
        broken()

    assert breaker.state == "closed"


# Late results


def test_a_late_failure_neither_reopens_nor_extends(make: Make, clock: FakeClock) -> None:
    breaker = make()
    late, _ = breaker.begin()
    trip(breaker)
    clock.advance(10)
    assert breaker.call(answer) == 42

    breaker.bad(late, Down())

    assert breaker.state == "closed"
    assert breaker.snapshot().stale == 1
    assert breaker.snapshot().failures == 3


def test_a_late_success_does_not_close(make: Make, clock: FakeClock) -> None:
    breaker = make()
    with breaker:
        trip(breaker)
        clock.advance(10)

    assert breaker.state == "open"
    assert breaker.snapshot().stale == 1
    assert breaker.snapshot().successes == 1


# Events


def test_one_transition_one_event_in_order(make: Make, clock: FakeClock, hook: RecordingHook) -> None:
    breaker = make()
    trip(breaker)
    clock.advance(10)
    breaker.call(answer)
    breaker.force_open()

    assert hook.events == [
        CircuitOpened("db", "2 failures in a row", 2, 10.0),
        CircuitHalfOpened("db", "its open time is over"),
        CircuitClosed("db", "1 of its probes succeeded"),
        CircuitOverridden("db", "forced_open", "open"),
    ]


def test_a_listener_that_raises_is_logged_and_harms_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise ZeroDivisionError

    breaker = make(hook=broken)

    trip(breaker)

    assert "ZeroDivisionError" in caplog.text


def test_a_listener_may_use_the_breaker_and_order_holds(make: Make) -> None:
    seen: list[Event] = []

    def listener(event: Event) -> None:
        if isinstance(event, CircuitOpened):
            breaker.reset()
        seen.append(event)

    breaker = make(hook=listener)
    with pytest.raises(Down):
        breaker.call(fail)
    with pytest.raises(Down):
        breaker.call(fail)

    assert [type(event) for event in seen] == [CircuitOpened, CircuitOverridden]
    assert breaker.state == "closed"


def test_a_registry_passes_every_event_on(clock: FakeClock) -> None:
    registry, heard = Registry(), RecordingHook()
    registry.listen(heard)
    breaker = CircuitBreaker("db", 2, clock=clock, registry=registry)

    trip(breaker)

    assert len(heard.of(CircuitOpened)) == 1


# Operators


def test_disabled_lets_everything_through(make: Make) -> None:
    breaker = make()
    breaker.disable()
    for _ in range(5):
        with pytest.raises(Down):
            breaker.call(fail)

    assert breaker.state == "closed"
    assert breaker.mode is Mode.DISABLED
    assert breaker.snapshot().failures == 5


def test_shadow_reports_what_it_would_have_done(make: Make, clock: FakeClock, hook: RecordingHook) -> None:
    breaker = make(mode=Mode.SHADOW)
    for _ in range(4):
        with pytest.raises(Down):
            breaker.call(fail)
    assert breaker.call(answer) == 42
    clock.advance(10)
    assert breaker.call(answer) == 42

    snapshot = breaker.snapshot()
    assert (snapshot.spared, snapshot.rejected, snapshot.stale) == (3, 0, 0)
    assert [type(event) for event in hook.events] == [CircuitOpened, CircuitHalfOpened, CircuitClosed]
    assert hook.of(CircuitOpened)[0].is_shadow


def test_close_and_reset_admit_again(make: Make) -> None:
    breaker = make()
    for hand_back in (breaker.close, breaker.reset):
        breaker.force_open()
        hand_back()
        assert breaker.call(answer) == 42
        assert breaker.mode is Mode.AUTOMATIC


# Figures


def test_the_snapshot_counts_everything(make: Make, clock: FakeClock) -> None:
    breaker = make(ignored_types=(KeyError,))
    breaker.call(answer)
    trip(breaker)
    clock.advance(3)
    clock.step_wall(-3600)
    breaker.call(answer, fallback=answer)

    snapshot = breaker.snapshot()

    assert (snapshot.successes, snapshot.failures, snapshot.rejected, snapshot.opened) == (1, 2, 1, 1)
    assert snapshot.success_rate == pytest.approx(33.33, abs=0.01)
    assert (snapshot.seconds_in_state, snapshot.retry_after) == (3, 7)
    assert snapshot.last_failure == "Down('no answer')"
    assert snapshot.last_failure_at == datetime.fromtimestamp(clock.now() - 3, UTC)
    assert snapshot.as_json()["last_failure_at"] == snapshot.last_failure_at.isoformat()
    assert breaker.snapshot().rejected == 1, "reading must not count"


def test_before_the_first_call_nothing_has_failed(make: Make) -> None:
    snapshot = make().snapshot()

    assert snapshot.success_rate == 100.0
    assert snapshot.as_promised()["last_failure_time"] is None
    assert snapshot.as_json()["last_failure_at"] is None


def test_a_refusal_leaves_no_cycle_for_the_collector(make: Make) -> None:
    guarded = make(mode=Mode.FORCED_OPEN)(answer)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with contextlib.suppress(CircuitBreakerError):
                guarded()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_memory_is_flat_over_refusals(make: Make) -> None:
    breaker = make()
    trip(breaker)
    guarded = breaker(answer)

    def depth(error: BaseException | None) -> int:
        frames, trace = 0, error.__traceback__ if error else None
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        return frames

    def refuse(times: int) -> tuple[int, int]:
        for _ in range(times):
            try:
                guarded()
            except CircuitBreakerError as error:
                cause = error.last_failure
        gc.collect()
        return len(gc.get_objects()), depth(cause)

    before = refuse(100)
    after = refuse(20_000)

    assert after[1] == before[1]
    assert after[0] - before[0] < 50


# Names


def test_the_same_name_is_the_same_breaker(clock: FakeClock) -> None:
    registry = Registry()

    first = CircuitBreaker("db", 3, clock=clock, registry=registry)

    assert CircuitBreaker("db", 3, clock=clock, registry=registry) is first
    assert registry["db"] is first
    assert list(registry) == [first]


def test_the_same_name_with_other_options_names_both(clock: FakeClock) -> None:
    registry = Registry()
    CircuitBreaker("db", 3, registry=registry)

    with pytest.raises(CircuitConflict, match=r"failure_threshold=3.*recovery_timeout=5") as conflict:
        CircuitBreaker("db", recovery_timeout=5, registry=registry)

    assert conflict.value.name == "db"


def test_rules_in_a_list_and_in_a_tuple_are_the_same_options() -> None:
    registry, rule = Registry(), FailureRate(0.5, calls=20)

    first = CircuitBreaker("db", rules=[rule], registry=registry)

    assert CircuitBreaker("db", rules=(rule,), registry=registry) is first


def test_a_removed_name_is_free_again() -> None:
    registry = Registry()
    first = CircuitBreaker("db", registry=registry)
    registry.remove("db")

    assert CircuitBreaker("db", 9, registry=registry) is not first
    with pytest.raises(CircuitUnknown):
        registry.remove("cache")
    with pytest.raises(CircuitUnknown, match="cache"):
        registry["cache"]


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_breaker_needs_a_name(name: Any) -> None:
    with pytest.raises(InvalidValue, match="name"):
        CircuitBreaker(name, registry=None)


def test_exception_lists_hold_exception_classes() -> None:
    with pytest.raises(InvalidValue, match="ignored_types"):
        CircuitBreaker("db", registry=None, ignored_types=(KeyboardInterrupt,))  # type: ignore[arg-type]


def test_the_keywords_are_the_options() -> None:
    named = {"failure_threshold", "recovery_timeout"}
    assert set(BreakerKeywords.__annotations__) == set(BreakerOptions.__dataclass_fields__) - named


def test_repr_names_the_state(make: Make) -> None:
    assert repr(make()) == "<CircuitBreaker 'db' closed>"


def test_the_default_registry_starts_empty_for_names_nobody_used() -> None:
    assert "never used" not in [breaker.name for breaker in BREAKERS]


def test_refusals_are_not_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    breaker = make()
    trip(breaker)
    breaker.call(answer, fallback=answer)

    assert not caplog.records
