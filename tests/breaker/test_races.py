"""Real threads, real tasks and real forks, with a switch interval of one microsecond."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from quadra_matrix.breaker import CircuitBreaker, FailureRate, Registry
from quadra_matrix.errors import CircuitBreakerError
from quadra_matrix.events import Event
from quadra_matrix.events.breaker import CircuitClosed, CircuitHalfOpened, CircuitOpened
from quadra_matrix.testing import FakeClock, RecordingHook

WITHIN = 60.0
"""Seconds any of these threads may take; the machines are busy."""


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Down(Exception):
    """What a dependency raises when it is down."""


def fail() -> None:
    raise Down


def together(threads: int, work: Callable[[int], object]) -> None:
    """Run ``work`` in so many threads that begin at the same moment; an error in one is an error here."""
    gate = threading.Barrier(threads)

    def begin(number: int) -> object:
        gate.wait(WITHIN)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(begin, range(threads), timeout=WITHIN))


def half_opened(clock: FakeClock, permits: int) -> CircuitBreaker:
    """Return a breaker whose open time is over."""
    breaker = CircuitBreaker(
        "db", 1, 10, half_open_permits=permits, success_threshold=permits, clock=clock, registry=None
    )
    with pytest.raises(Down):
        breaker.call(fail)
    clock.advance(10)
    return breaker


@pytest.mark.parametrize("permits", [1, 3])
def test_of_32_threads_at_half_open_only_the_permitted_reach_the_dependency(permits: int) -> None:
    breaker = half_opened(FakeClock(), permits)
    reached, refused, all_asked = [], [], threading.Event()

    @breaker
    def probe(number: int) -> None:
        reached.append(number)
        assert all_asked.wait(WITHIN)

    def call(number: int) -> None:
        try:
            probe(number)
        except CircuitBreakerError:
            refused.append(number)
        if len(refused) == 32 - permits:
            all_asked.set()

    together(32, call)

    assert (len(reached), len(refused)) == (permits, 32 - permits)
    assert breaker.state == "closed"


@pytest.mark.parametrize("permits", [1, 3])
def test_of_32_tasks_at_half_open_only_the_permitted_reach_the_dependency(permits: int) -> None:
    breaker = half_opened(FakeClock(), permits)
    reached = []

    async def probe(number: int) -> None:
        reached.append(number)
        await asyncio.sleep(0)

    async def main() -> list[BaseException | None]:
        return await asyncio.gather(*(breaker(probe)(number) for number in range(32)), return_exceptions=True)

    answers = asyncio.run(main())

    assert len(reached) == permits
    assert sum(isinstance(answer, CircuitBreakerError) for answer in answers) == 32 - permits
    assert breaker.state == "closed"


def test_no_count_is_lost_among_threads() -> None:
    breaker = CircuitBreaker("db", None, rules=[FailureRate(1.0, calls=100)], registry=None)

    @breaker
    def work(number: int) -> None:
        if number % 10 == 0:
            raise Down

    def many(thread: int) -> None:
        for number in range(5_000):
            try:
                work(number)
            except Down:
                continue

    together(8, many)

    snapshot = breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == (36_000, 4_000)
    assert (snapshot.stale, snapshot.rejected, snapshot.opened) == (0, 0, 0)


def test_every_call_is_counted_once_while_the_circuit_opens_and_closes() -> None:
    breaker = CircuitBreaker("db", 2, 1e-4, registry=None, hook=(hook := RecordingHook()))
    ran, refused = [0] * 8, [0] * 8

    def work(fails: bool) -> None:
        if fails:
            raise Down

    guarded = breaker(work)

    def many(thread: int) -> None:
        for number in range(3_000):
            try:
                ran[thread] += 1
                guarded(number % 7 < 3)
            except Down:
                continue
            except CircuitBreakerError:
                ran[thread] -= 1
                refused[thread] += 1

    together(8, many)

    snapshot = breaker.snapshot()
    assert snapshot.calls == sum(ran)
    assert snapshot.rejected == sum(refused)
    assert len(hook.events) == snapshot.opened + snapshot.half_opened + snapshot.closed
    assert_in_order(hook.events)


def assert_in_order(events: list[Event]) -> None:
    """Every event may follow the one before it."""
    before: type[Event] = CircuitClosed
    for event in events:
        after = type(event)
        assert after in {
            CircuitClosed: {CircuitOpened},
            CircuitOpened: {CircuitHalfOpened},
            CircuitHalfOpened: {CircuitOpened, CircuitClosed},
        }.get(before, set()), f"{after.__name__} after {before.__name__}"
        before = after


def test_a_name_is_made_once_under_a_race() -> None:
    registry, made = Registry(), []

    together(16, lambda _: made.append(CircuitBreaker("db", registry=registry)))

    assert len({id(breaker) for breaker in made}) == 1


def test_a_finalizer_may_use_the_breaker_while_its_thread_holds_the_lock() -> None:
    clock = FakeClock()
    breaker = CircuitBreaker("db", 1, clock=clock, registry=None, chance=lambda: breaker.call(float))
    done = threading.Event()

    def use() -> None:
        with breaker._lock:
            breaker.call(float)
        done.set()

    threading.Thread(target=use, daemon=True).start()

    assert done.wait(WITHIN)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_free_locks_and_gives_lost_permits_back() -> None:
    """A preloading server: threads of the parent are inside the breaker at the moment of the fork."""
    clock, registry = FakeClock(), Registry()
    breaker = CircuitBreaker("db", 1, 10, clock=clock, registry=registry)
    busy = CircuitBreaker("busy", registry=registry)
    with pytest.raises(Down):
        breaker.call(fail)
    clock.advance(10)
    stop, in_probe, end_probe = threading.Event(), threading.Event(), threading.Event()

    def probe() -> None:
        in_probe.set()
        assert end_probe.wait(WITHIN)

    def churn() -> None:
        while not stop.is_set():
            busy.reset()
            CircuitBreaker("busy", registry=registry)

    threads = [threading.Thread(target=breaker.call, args=(probe,)), threading.Thread(target=churn)]
    for thread in threads:
        thread.start()
    assert in_probe.wait(WITHIN)
    try:
        statuses = [os.waitpid(fork_and(lambda: child_works(breaker, busy, registry)), 0)[1] for _ in range(10)]
    finally:
        stop.set()
        end_probe.set()
        for thread in threads:
            thread.join(WITHIN)

    assert statuses == [0] * 10
    assert breaker.state == "closed", "the parent's own probe still counts"


def child_works(breaker: CircuitBreaker, busy: CircuitBreaker, registry: Registry) -> bool:
    """Use everything that was locked; the probe of the parent's thread must not block the child."""
    busy.reset()
    CircuitBreaker("new", registry=registry)
    return breaker.call(lambda: True) and breaker.state == "closed"


def fork_and(work: Callable[[], bool]) -> int:
    """Fork; the child does ``work`` and ends with 0 if it was true. A child that hangs is ended by its alarm."""
    import signal

    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(int(WITHIN))
        status = 0 if work() else 2
    finally:
        os._exit(status)
