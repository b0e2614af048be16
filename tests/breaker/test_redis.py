"""Shared circuits over a real Redis server, among real processes, also while the server is killed and restarted."""

from __future__ import annotations

import multiprocessing
import queue
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from quadra_matrix.breaker import CircuitBreaker
from quadra_matrix.breaker.redis import RedisStore
from quadra_matrix.errors import CircuitBreakerError, InvalidValue, SharedStateLost
from quadra_matrix.events.breaker import CircuitStoreFound, CircuitStoreLost
from quadra_matrix.testing import RecordingHook
from tests.services.process import free_port, wait_until
from tests.services.redis import Redis, redis_server

WITHIN = 60.0
INTERVAL = 0.05


class Down(Exception):
    """What a dependency raises when it is down."""


def fail() -> None:
    raise Down


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with redis_server(tmp_path) as redis:
        yield redis


def breaker_over(url: str, recovery: float = 30.0, **options: object) -> CircuitBreaker:
    store = RedisStore(url, interval=INTERVAL, timeout=5.0)
    return CircuitBreaker("db", 6, recovery, shared=store, registry=None, **options)  # type: ignore[arg-type]


def test_a_document_is_swapped_only_by_who_read_it_last(server: Redis) -> None:
    store = RedisStore(server.url)
    empty = store.read("db")

    assert (empty.version, empty.document) == ("", None)
    assert store.swap("db", "", {"era": 1})
    assert not store.swap("db", "", {"era": 2})
    kept = store.read("db")
    assert kept.document == {"era": 1}
    assert kept.now >= empty.now > 1.6e9
    assert store.swap("db", kept.version, {"era": 3})
    assert not store.swap("db", kept.version, {"era": 4})


def test_names_do_not_mix(server: Redis) -> None:
    store = RedisStore(server.url)
    store.swap("a", "", {"era": 1})

    assert store.read("b").document is None


@pytest.mark.parametrize("option", ["interval", "timeout"])
def test_a_bad_option_is_refused_by_name(option: str) -> None:
    with pytest.raises(InvalidValue, match=option):
        RedisStore("redis://127.0.0.1", **{option: 0.0})


def test_a_server_that_is_not_there_is_lost_at_once() -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}")

    with pytest.raises(SharedStateLost, match=r"127\.0\.0\.1"):
        store.read("db")
    with pytest.raises(SharedStateLost):
        store.swap("db", "", {})


def test_a_server_that_does_not_answer_is_lost_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = RedisStore(f"redis://127.0.0.1:{mute.getsockname()[1]}", timeout=0.05)

        with pytest.raises(SharedStateLost, match=r"(?i)time"):
            store.read("db")


def serve(url: str, orders: Connection) -> None:
    """Be one process of the fleet: follow orders, answer each."""
    reached = []

    def probe() -> None:
        reached.append(1)
        orders.send("in the probe")
        assert orders.recv() == "end"

    breaker = breaker_over(url, recovery=2.0, probe_timeout=WITHIN)
    for order in iter(orders.recv, "stop"):
        try:
            if order == "fail":
                breaker.call(fail)
            elif order == "probe":
                breaker.call(probe)
            else:
                breaker.call(int)
            orders.send("done")
        except Down:
            orders.send(breaker.state)
        except CircuitBreakerError as refused:
            orders.send((refused.state, refused.retry_after))


@pytest.mark.slow
def test_several_processes_share_threshold_probe_and_recovery(server: Redis) -> None:
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(3)]
    workers = [context.Process(target=serve, args=(server.url, theirs), daemon=True) for _, theirs in ends]
    ours = [mine for mine, _ in ends]

    def ask(worker: int, order: str) -> object:
        ours[worker].send(order)
        if not ours[worker].poll(WITHIN):
            raise queue.Empty
        return ours[worker].recv()

    for worker in workers:
        worker.start()
    try:
        # Six failures over three processes open the circuit for all.
        states = [ask(number % 3, "fail") for number in range(6)]
        assert states == ["closed"] * 5 + ["open"]
        wait_until(lambda: ask(0, "call") != "done", "the first process to follow")

        # The open time is over for all at the same moment; one of the three may try.
        wait_until(lambda: ask(1, "probe") == "in the probe", "the open time to end")
        assert ask(0, "call")[0] == "half_open"  # type: ignore[index]
        assert ask(2, "call")[0] == "half_open"  # type: ignore[index]

        # It succeeds; the others follow.
        assert ask(1, "end") == "done"
        wait_until(lambda: ask(0, "call") == "done", "the first process to close")
        wait_until(lambda: ask(2, "call") == "done", "the third process to close")
    finally:
        for mine, worker in zip(ours, workers, strict=True):
            mine.send("stop")
            worker.join(WITHIN)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


@pytest.mark.slow
def test_the_server_is_killed_and_started_again(tmp_path: Path) -> None:
    port, hook = free_port(), RecordingHook()

    with redis_server(tmp_path, port) as server:
        breaker = breaker_over(server.url, hook=hook)
        other = breaker_over(server.url)
        assert breaker.call(int) == 0
        server.process.kill()
        server.process.wait(WITHIN)

    for _ in range(6):
        with pytest.raises(Down):
            breaker.call(fail)
    with pytest.raises(CircuitBreakerError):
        breaker.call(int)
    assert len(hook.of(CircuitStoreLost)) == 1

    with redis_server(tmp_path, port):

        def is_found() -> bool:
            with pytest.raises(CircuitBreakerError):
                breaker.call(int)
            return bool(hook.of(CircuitStoreFound))

        wait_until(is_found, "the breaker to find the store again")
        with pytest.raises(CircuitBreakerError) as refused:
            other.call(int)

    assert refused.value.state == "open", "what one process knew survived the empty store"
