"""How often a caller may come: the arithmetic, the buckets in memory and in a real Redis, and a Redis that is away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.access.limiter import Buckets, Limiter, MemoryBuckets
from quadra_matrix.access.limits import By, Decision, Direction, Limit, Rate, decide, policy_of, read_limit, state_of
from quadra_matrix.access.redis import RedisBuckets
from quadra_matrix.breaker import CircuitBreaker
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import AccessUndecided, InvalidValue, RedisUnavailable
from quadra_matrix.events.access import SharedLimitsBack, SharedLimitsLost
from quadra_matrix.testing import FakeClock, RecordingHook
from tests.services.process import wait_until
from tests.services.redis import Redis, redis_server

T = TypeVar("T")

FIVE = Rate(5, 10.0)

rates = st.builds(Rate, st.integers(1, 1000), st.floats(0.1, 86400))


@given(rate=rates, gaps=st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_no_span_of_time_lets_more_calls_in_than_the_bucket_holds_and_gains(rate: Rate, gaps: list[float]) -> None:
    full, now, let_in = 0.0, 1000.0, []
    for gap in gaps:
        now += gap * rate.interval
        (full,), (said,) = decide([full], [rate], now)
        if said.is_allowed:
            let_in.append(now)

    for first, begin in enumerate(let_in):
        for last, end in enumerate(let_in[first:], first):
            assert last - first + 1 <= rate.limit + (end - begin) / rate.interval + 2e-3


@given(rate=rates, already=st.integers(0, 2000))
def test_a_refused_call_that_waits_as_long_as_it_is_told_is_let_in(rate: Rate, already: int) -> None:
    full = 0.0
    for _ in range(min(already, rate.limit + 1)):
        (full,), _ = decide([full], [rate], 0.0)

    (full,), (said,) = decide([full], [rate], 0.0)

    if not said.is_allowed:
        assert said.remaining == 0
        assert 0 < said.retry_after <= rate.interval * (1 + 1e-6)
        _, (later,) = decide([full], [rate], said.retry_after)
        assert later.is_allowed


@given(rate=rates, taken=st.integers(1, 1000))
def test_what_is_left_is_what_can_be_taken(rate: Rate, taken: int) -> None:
    full, said = 0.0, None
    for _ in range(min(taken, rate.limit)):
        (full,), (said,) = decide([full], [rate], 0.0)

    assert said is not None
    assert said.remaining == rate.limit - min(taken, rate.limit)
    assert said.reset_after == pytest.approx(min(taken, rate.limit) * rate.interval)


def test_a_call_that_one_bucket_refuses_takes_of_none() -> None:
    full, said = decide([0.0, 10.0], [FIVE, FIVE], 0.0)

    assert [*full] == [0.0, 10.0]
    assert [(each.is_allowed, each.remaining) for each in said] == [(True, 5), (False, 0)]


@pytest.mark.parametrize(
    ("text", "limit"),
    [("5/10s", Limit(FIVE)), ("100/minute by address", Limit(Rate(100, 60), By.ADDRESS)),
     ("7/day by route on /api/predict", Limit(Rate(7, 86400), By.ROUTE, "/api/predict"))],
)  # fmt: skip
def test_a_limit_is_read_as_it_is_written(text: str, limit: Limit) -> None:
    assert read_limit(text) == limit
    assert read_limit(limit.name) == limit


@pytest.mark.parametrize(
    "text", ["", "5", "0/second", "5/week", "5/0s", "-1/second", "5/second by nobody", "5/second on api", "5/second on"]
)
def test_a_limit_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        read_limit(text)


@pytest.mark.parametrize(("limit", "seconds"), [(0, 1.0), (1, 0.0), (1, 86401.0), (1, float("nan"))])
def test_a_rate_has_bounds(limit: int, seconds: float) -> None:
    with pytest.raises(InvalidValue):
        Rate(limit, seconds)


def test_callers_are_told_their_limits() -> None:
    limits = [Limit(FIVE), Limit(Rate(2, 1), By.ROUTE, "/api")]

    assert [policy_of(limit) for limit in limits] == [
        '"5/10s by caller";q=5;w=10', '"2/second by route on /api";q=2;w=1',
    ]  # fmt: skip
    assert state_of(limits[0].name, Decision(True, 4, 2.0)) == '"5/10s by caller";r=4;t=2'
    assert state_of(limits[1].name, Decision(False, 0, 1.0, 0.4)) == '"2/second by route on /api";r=0;t=1'


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def shared(redis: Redis, request: pytest.FixtureRequest) -> Iterator[RedisBuckets]:
    buckets = RedisBuckets(redis.url, timeout=5.0, prefix=f"{request.node.name}:")
    yield buckets
    buckets.close()


@pytest.fixture(params=["memory", "redis"])
def buckets(request: pytest.FixtureRequest) -> Buckets:
    if request.param == "memory":
        return MemoryBuckets()
    found: Buckets = request.getfixturevalue("shared")
    return found


HOUR = Rate(5, 3600.0)


def test_buckets_let_in_as_many_as_they_hold(buckets: Buckets) -> None:
    said = [buckets.take([("ada", HOUR)])[0] for _ in range(7)]

    assert [each.is_allowed for each in said] == [True] * 5 + [False] * 2
    assert [each.remaining for each in said] == [4, 3, 2, 1, 0, 0, 0]
    assert 715 < said[-1].retry_after <= 720
    assert buckets.take([("bob", HOUR)])[0].is_allowed


def test_buckets_take_of_all_or_none(buckets: Buckets) -> None:
    for _ in range(5):
        buckets.take([("small", HOUR)])

    both = buckets.take([("large", HOUR), ("small", HOUR)])

    assert [each.is_allowed for each in both] == [True, False]
    assert buckets.take([("large", HOUR)])[0].remaining == 4


def test_buckets_count_each_call_once_whoever_asks_at_the_same_time(buckets: Buckets) -> None:
    rate = Rate(50, 3600.0)

    with ThreadPoolExecutor(8) as pool:
        said = [*pool.map(lambda _: buckets.take([("all", rate)])[0].is_allowed, range(80))]

    assert said.count(True) == 50


def test_buckets_fill_again() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock=clock)
    for _ in range(6):
        buckets.take([("ada", FIVE)])

    clock.advance(2.0)

    assert [buckets.take([("ada", FIVE)])[0].is_allowed for _ in range(2)] == [True, False]


def test_memory_is_bounded_and_forgets_the_fullest_first() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(most=10, clock=clock)
    for _ in range(5):
        buckets.take([("busy", FIVE)])

    for number in range(200):
        buckets.take([(f"stranger {number}", FIVE)])

    assert len(buckets._full_at) <= 10
    assert not buckets.take([("busy", FIVE)])[0].is_allowed


class AwayBuckets:
    """Shared buckets that are away when a test says so."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0
        self._own = MemoryBuckets()

    def take(self, asked: Sequence[tuple[str, Rate]]) -> Sequence[Decision]:
        self.asked += 1
        self.ping()
        return self._own.take(asked)

    def ping(self) -> None:
        if self.is_away:
            raise RedisUnavailable("it is away")


def test_a_store_that_is_away_is_not_asked_by_requests_and_comes_back_by_itself() -> None:
    shared, hook = AwayBuckets(), RecordingHook()
    limiter = Limiter(MemoryBuckets(), shared, hook=hook, between_looks=0.01)
    shared.is_away = True

    said = [limiter.take([("ada", HOUR)])[0].is_allowed for _ in range(7)]
    asked = shared.asked
    with pytest.raises(AccessUndecided):
        limiter.take([("ada", HOUR)], Direction.CLOSED)
    opened = limiter.take([("ada", HOUR)], Direction.OPEN)
    shared.is_away = False
    wait_until(lambda: not limiter.is_alone, "the limiter to see that the store is back")

    assert said == [True] * 5 + [False] * 2
    assert (asked, [*opened]) == (1, [])
    assert [type(event) for event in hook.events] == [SharedLimitsLost, SharedLimitsBack]
    assert limiter.take([("ada", HOUR)])[0].remaining == 4


def test_a_limiter_that_is_closed_stops_looking() -> None:
    shared = AwayBuckets()
    shared.is_away = True
    limiter = Limiter(MemoryBuckets(), shared, between_looks=0.01)
    limiter.take([("ada", HOUR)])

    limiter.close()

    wait_until(lambda: not any(thread.name == "quadra-limits" for thread in threading.enumerate()), "its thread to end")


def test_an_address_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidValue) as refused:
        RedisBuckets("http://:hunter2@cache")

    assert "hunter2" not in str(refused.value)


def seconds_of(func: Callable[[], object]) -> float:
    began = SYSTEM_CLOCK.monotonic()
    func()
    return SYSTEM_CLOCK.monotonic() - began


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    with redis_server(tmp_path) as server:
        yield server


class CountedRedis(RedisBuckets):
    """Buckets in Redis that count how often a request waits for them."""

    asked = 0

    def take(self, asked: Sequence[tuple[str, Rate]]) -> Sequence[Decision]:
        self.asked += 1
        return super().take(asked)


@pytest.fixture
def limiter_of(own_redis: Redis) -> Iterator[tuple[Limiter, CountedRedis]]:
    shared = CountedRedis(own_redis.url)
    breaker = CircuitBreaker("limits", failure_threshold=1, recovery_timeout=0.2, registry=None)
    limiter = Limiter(MemoryBuckets(), shared, guard=breaker.call, between_looks=0.1)
    yield limiter, shared
    limiter.close()
    shared.close()


def lose(limiter: Limiter, shared: CountedRedis, process: int, way: int) -> float:
    """Lose Redis between two requests; return the seconds that the first one after it takes."""
    wait_until(lambda: not limiter.is_alone and bool(limiter.take([("warm", HOUR)])), "a connection")
    os.kill(process, way)
    before = shared.asked

    first = seconds_of(lambda: limiter.take([("ada", HOUR)]))
    said = [limiter.take([("ada", HOUR)])[0].is_allowed for _ in range(200)]

    assert limiter.is_alone
    assert shared.asked == before + 1, "more than one request waited"
    assert said.count(True) <= 4
    with pytest.raises(AccessUndecided):
        limiter.take([("ada", HOUR)], Direction.CLOSED)
    return first


def test_a_redis_that_hangs_costs_one_request_fifty_milliseconds_and_comes_back(
    own_redis: Redis, limiter_of: tuple[Limiter, CountedRedis]
) -> None:
    spent = []
    for _ in range(5):  # a busy machine adds to a wait, never takes from it
        spent.append(lose(*limiter_of, own_redis.process.pid, signal.SIGSTOP))
        os.kill(own_redis.process.pid, signal.SIGCONT)
        wait_until(lambda: not limiter_of[0].is_alone, "the limiter to see that Redis goes on")

    assert min(spent) < 0.05


def test_a_redis_that_is_killed_costs_no_more_and_may_start_again(
    own_redis: Redis, limiter_of: tuple[Limiter, CountedRedis], tmp_path: Path
) -> None:
    spent = lose(*limiter_of, own_redis.process.pid, signal.SIGKILL)
    own_redis.process.wait(10)

    with redis_server(tmp_path, own_redis.port):
        wait_until(lambda: not limiter_of[0].is_alone, "the limiter to see that Redis is back")
        assert limiter_of[0].take([("ada", HOUR)])[0].remaining == 4
    assert spent < 1.0
