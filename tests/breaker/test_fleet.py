"""Several processes share one circuit: each is played by a breaker of its own over one store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from quadra_matrix.breaker import Backoff, CircuitBreaker, FailureRate
from quadra_matrix.breaker.fleet import PATIENCE, TRIES
from quadra_matrix.breaker.shared import Kept
from quadra_matrix.errors import CircuitBreakerError
from quadra_matrix.events.breaker import (
    CircuitClosed,
    CircuitOpened,
    CircuitOverridden,
    CircuitStoreFound,
    CircuitStoreLost,
)
from quadra_matrix.testing import FakeClock, RecordingHook
from tests.breaker.stores import MemoryStore


class Down(Exception):
    """What a dependency raises when it is down."""


def fail() -> None:
    raise Down


def answer() -> int:
    return 42


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


Worker = Callable[..., CircuitBreaker]


@pytest.fixture
def worker(clock: FakeClock, store: MemoryStore) -> Worker:
    def worker(threshold: int | None = 3, recovery: float = 10, **options: Any) -> CircuitBreaker:
        return CircuitBreaker("db", threshold, recovery, clock=clock, shared=store, registry=None, **options)

    return worker


def failing(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Down):
            breaker.call(fail)


def refused(breaker: CircuitBreaker) -> CircuitBreakerError:
    with pytest.raises(CircuitBreakerError) as error:
        breaker.call(answer)
    return error.value


def test_the_threshold_holds_for_the_fleet(worker: Worker, clock: FakeClock) -> None:
    a, b, c = worker(), worker(), worker()

    for each in (a, b, c):
        failing(each)

    assert c.state == "open"
    clock.advance(1)
    assert refused(a).retry_after == 9
    assert refused(b).retry_after == 9


def test_a_healthy_call_does_not_touch_the_store(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    breaker = worker()
    breaker.call(answer)
    before = store.trips

    for _ in range(100):
        assert breaker.call(answer) == 42
        assert breaker(answer)() == 42
    assert store.trips == before
    clock.advance(1)
    breaker.call(answer)

    assert before < store.trips <= before + 2


def test_a_guarded_function_looks_once_per_interval(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(), worker()
    guarded = b(answer)
    guarded()
    failing(a, 3)
    clock.advance(1)

    with pytest.raises(CircuitBreakerError):
        guarded()


def test_one_probe_in_the_fleet(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(), worker()
    failing(a, 3)
    clock.advance(1)
    refused(b)
    clock.advance(9)

    with a:
        assert refused(b).state == "half_open"
    clock.advance(1)

    assert (a.state, b.call(answer), b.state) == ("closed", 42, "closed")


def test_a_lost_probe_gives_its_permit_back_to_the_fleet(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(probe_timeout=5), worker(probe_timeout=5)
    failing(a, 3)
    clock.advance(10)
    ticket, _ = a.begin()
    clock.advance(5)

    assert b.call(answer) == 42
    a.bad(ticket, Down())

    assert (b.state, a.state) == ("closed", "closed")
    assert a.snapshot().stale == 1


def test_a_cancelled_probe_gives_its_permit_back(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(), worker()
    failing(a, 3)
    clock.advance(10)
    with pytest.raises(KeyboardInterrupt), a:
        raise KeyboardInterrupt

    assert b.call(answer) == 42


def test_an_interrupted_call_of_a_closed_circuit_tells_nobody(worker: Worker, store: MemoryStore) -> None:
    breaker = worker()
    breaker.call(answer)
    before = store.trips

    with pytest.raises(KeyboardInterrupt), breaker:
        raise KeyboardInterrupt

    assert store.trips == before


def test_a_new_process_resets_nothing(worker: Worker, clock: FakeClock) -> None:
    a = worker()
    failing(a, 3)
    clock.advance(4)

    newcomer = worker()

    assert refused(newcomer).retry_after == 6
    clock.advance(1)
    assert refused(a).retry_after == 5


def test_successes_elsewhere_break_the_row_once_they_are_known(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(), worker()
    failing(a, 2)
    clock.advance(1)
    b.call(answer)
    b.call(answer)
    failing(a, 2)

    assert a.state == "closed"


def test_a_rate_counts_the_calls_of_all(worker: Worker, clock: FakeClock) -> None:
    rules = [FailureRate(0.5, calls=10, minimum=8)]
    a, b = worker(None, rules=rules), worker(None, rules=rules)
    for _ in range(4):
        b.call(answer)
    clock.advance(1)
    b.call(answer)

    failing(a, 3)
    assert a.state == "closed"
    failing(a)

    assert a.state == "open"


def test_late_failures_of_another_era_are_stale(worker: Worker, clock: FakeClock) -> None:
    a, b = worker(), worker()
    late, _ = a.begin()
    failing(b, 3)
    clock.advance(10)
    b.call(answer)

    a.bad(late, Down())

    assert a.snapshot().stale == 1
    assert a.state == b.state == "closed"


def test_growth_of_the_open_time_is_shared(worker: Worker, clock: FakeClock) -> None:
    backoff = Backoff(jitter=0)
    a, b = worker(1, backoff=backoff), worker(1, backoff=backoff)
    failing(a)
    clock.advance(10)
    failing(b)

    assert refused(b).retry_after == 20


def test_an_operator_speaks_to_the_fleet(worker: Worker, clock: FakeClock) -> None:
    hook = RecordingHook()
    a, b = worker(), worker(hook=hook)
    b.call(answer)

    a.force_open()
    clock.advance(1)
    assert refused(b).retry_after is None
    a.reset()
    clock.advance(1)
    assert b.call(answer) == 42

    assert hook.events == [
        CircuitOverridden("db", "forced_open", "open"),
        CircuitOverridden("db", "automatic", "closed"),
    ]


def test_each_process_announces_what_it_sees(worker: Worker, clock: FakeClock) -> None:
    hook = RecordingHook()
    a, b = worker(), worker(hook=hook)
    b.call(answer)
    failing(a, 3)
    clock.advance(1)
    refused(b)
    clock.advance(9)
    a.call(answer)
    clock.advance(1)
    b.call(answer)

    assert [type(event) for event in hook.events] == [CircuitOpened, CircuitClosed]
    assert hook.of(CircuitOpened)[0].open_for == 9


def test_refused_probes_do_not_ask_the_store_each_time(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    a, b = worker(), worker()
    failing(a, 3)
    clock.advance(10)
    with a:
        refused(b)
        before = store.trips
        for _ in range(10):
            assert refused(b).state == "half_open"
        asked = store.trips - before

    assert asked == 0


def test_a_result_that_is_stale_here_does_not_ask_the_store(worker: Worker, store: MemoryStore) -> None:
    breaker = worker()
    late, _ = breaker.begin()
    breaker.force_open()
    before = store.trips

    breaker.good(late)

    assert (store.trips, breaker.snapshot().stale) == (before, 1)


def test_an_older_view_does_not_undo_a_newer_one(clock: FakeClock) -> None:
    class Slow(MemoryStore):
        """While one thread waits for its answer, an operator is faster."""

        meanwhile: Callable[[], None] | None = None

        def read(self, name: str) -> Kept:
            kept, act = super().read(name), self.meanwhile
            self.meanwhile = None
            if act is not None:
                act()
            return kept

    store = Slow(clock)
    breaker = CircuitBreaker("db", clock=clock, shared=store, registry=None)
    breaker.call(answer)
    clock.advance(1)
    store.meanwhile = breaker.force_open

    breaker.call(answer)

    assert breaker.state == "open"


# The store goes away


def test_without_the_store_each_process_decides_alone_and_says_so_once(
    worker: Worker, clock: FakeClock, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    hook = RecordingHook()
    breaker = worker(hook=hook)
    breaker.call(answer)
    store.is_away = True

    failing(breaker, 3)
    assert refused(breaker).retry_after == 10
    clock.advance(10)
    assert breaker.call(answer) == 42

    assert breaker.state == "closed"
    assert len(hook.of(CircuitStoreLost)) == 1
    assert len(caplog.records) == 1
    assert (breaker.snapshot().failures, breaker.snapshot().successes) == (3, 2)


def test_a_process_alone_recovers_between_two_attempts_to_reach_the_store(
    worker: Worker, clock: FakeClock, store: MemoryStore
) -> None:
    breaker = worker(recovery=1)
    store.is_away = True
    failing(breaker, 3)
    before = store.trips
    clock.advance(1)

    assert breaker.call(answer) == 42
    assert (breaker.state, store.trips) == ("closed", before)


def test_a_store_that_is_away_from_the_start_stops_nobody(worker: Worker, store: MemoryStore) -> None:
    store.is_away = True

    breaker = worker()

    assert breaker.call(answer) == 42
    failing(breaker, 3)
    assert breaker.state == "open"


def test_a_store_that_is_away_is_asked_rarely(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    breaker = worker()
    store.is_away = True
    breaker.call(answer)
    before = store.trips

    for _ in range(100):
        breaker.call(answer)
    assert store.trips == before
    clock.advance(PATIENCE * store.interval)
    breaker.call(answer)

    assert store.trips == before + 1


def test_a_store_that_returns_is_followed(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    hook = RecordingHook()
    a, b = worker(hook=hook), worker()
    a.call(answer)
    store.is_away = True
    failing(a, 3)
    store.is_away = False
    b.call(answer)
    clock.advance(PATIENCE)

    assert a.call(answer) == 42, "the fleet's circuit is closed"

    assert [type(event) for event in hook.events[1:]] == [CircuitOpened, CircuitStoreFound, CircuitClosed]


def test_a_probe_ends_although_the_store_went_away(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    a = worker()
    failing(a, 3)
    clock.advance(10)
    with a:
        store.is_away = True

    assert a.state == "closed"


def test_a_store_that_lost_everything_learns_what_a_process_knows(
    worker: Worker, clock: FakeClock, store: MemoryStore
) -> None:
    a, b = worker(), worker()
    failing(a, 3)
    clock.advance(2)
    store.forget_everything()

    assert refused(a).retry_after == 8

    assert refused(b).retry_after == 8


def test_an_operator_s_decision_survives_a_store_that_lost_everything(
    worker: Worker, clock: FakeClock, store: MemoryStore
) -> None:
    a, b = worker(), worker()
    a.force_open()
    store.forget_everything()
    clock.advance(1)

    assert refused(a).retry_after is None

    assert refused(b).retry_after is None


def test_an_operator_without_the_store_speaks_to_his_process(worker: Worker, store: MemoryStore) -> None:
    breaker = worker()
    store.is_away = True

    breaker.force_open()

    assert refused(breaker).retry_after is None


def test_a_storm_of_writers_makes_a_process_decide_alone(worker: Worker, clock: FakeClock, store: MemoryStore) -> None:
    class Storm(MemoryStore):
        def swap(self, name: str, version: str, document: object) -> bool:
            self.trips += 1
            return False

        def read(self, name: str) -> Kept:
            return super().read(name)

    storm = Storm(clock)
    breaker = CircuitBreaker("db", 3, clock=clock, shared=storm, registry=None)

    assert breaker.call(answer) == 42

    assert storm.trips == 2 * TRIES


def test_no_failure_is_lost_among_threads_of_several_processes(worker: Worker, clock: FakeClock) -> None:
    rules = [FailureRate(1.0, calls=1000, minimum=1000)]
    workers = [worker(None, rules=rules) for _ in range(4)]
    opened = []

    def run(breaker: CircuitBreaker) -> None:
        for _ in range(25):
            failing(breaker)
            opened.append(breaker.state)

    threads = [threading.Thread(target=run, args=(breaker,)) for breaker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(breaker.snapshot().failures for breaker in workers) == 100
    assert set(opened) == {"closed"}
