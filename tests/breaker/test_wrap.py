"""Guarded functions keep their nature, name, signature and behaviour."""

from __future__ import annotations

import asyncio
import functools
import inspect
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from quadra_matrix.breaker import CircuitBreaker, circuit_breaker
from quadra_matrix.breaker.wrap import Nature, nature_of
from quadra_matrix.errors import CircuitBreakerError, InvalidValue
from quadra_matrix.testing import FakeClock


class Down(Exception):
    """What a dependency raises when it is down."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker("db", 1, 10, clock=clock, registry=None)


def trip(breaker: CircuitBreaker) -> None:
    def fail() -> None:
        raise Down

    with pytest.raises(Down):
        breaker.call(fail)


MARK = object()


def none() -> tuple[Any, ...]:
    return ()


def every_kind(a: int, /, b: Any, c: Any = MARK, *rest: int, d: Any, e: Any = MARK, **more: int) -> tuple[Any, ...]:
    """Take every kind of parameter."""
    return a, b, c, rest, d, e, more


def keywords_only(*, a: int, b: int = 2) -> tuple[Any, ...]:
    return a, b


def positional_only(a: int, b: int = 2, /) -> tuple[Any, ...]:
    return a, b


def names_of_ours(qm_ticket: int, qm_machine: int = 2) -> tuple[Any, ...]:
    return qm_ticket, qm_machine


def python_names(self: int, result: int, error: int, args: int, kwargs: int) -> tuple[Any, ...]:
    return self, result, error, args, kwargs


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (none, (), {}),
    (every_kind, (1, 2), {"d": 4}),
    (every_kind, (1, 2, 3, 4, 5), {"d": 4, "e": 5, "f": 6}),
    (every_kind, (1,), {"b": 2, "d": 4, "a": 9}),
    (keywords_only, (), {"a": 1}),
    (positional_only, (1,), {}),
    (names_of_ours, (1,), {}),
    (python_names, (1, 2, 3, 4, 5), {}),
    (functools.partial(every_kind, 1, d=4), (2,), {}),
    (int, ("7",), {}),
]


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS[:-1], ids=lambda part: getattr(part, "__name__", None))
def test_arguments_arrive_as_without_the_breaker(
    breaker: CircuitBreaker, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    guarded = breaker(func)

    assert guarded(*args, **kwargs) == func(*args, **kwargs)
    assert inspect.signature(guarded) == inspect.signature(func)


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3)])
def test_wrong_arguments_are_a_type_error(breaker: CircuitBreaker, args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        breaker(keywords_only)(*args)


def test_defaults_are_the_same_objects(breaker: CircuitBreaker) -> None:
    assert breaker(every_kind)(1, 2, d=4)[2] is MARK


def test_name_and_documentation_stay(breaker: CircuitBreaker) -> None:
    guarded = breaker(every_kind)

    assert (guarded.__name__, guarded.__doc__) == ("every_kind", "Take every kind of parameter.")
    assert inspect.unwrap(guarded) is every_kind


def test_a_builtin_and_a_callable_object_can_be_guarded(breaker: CircuitBreaker) -> None:
    class Client:
        def __call__(self, path: str) -> str:
            return path.upper()

    assert breaker(len)([1, 2]) == 2
    assert breaker(Client())("/a") == "/A"


def test_methods_are_guarded_and_share_the_breaker(breaker: CircuitBreaker) -> None:
    class Client:
        @breaker
        def get(self, path: str = "/") -> str:
            if path == "/down":
                raise Down
            return path

        @staticmethod
        @breaker
        def ping() -> str:
            return "pong"

    assert Client().get() == "/"
    assert Client.ping() == "pong"
    with pytest.raises(Down):
        Client().get("/down")
    with pytest.raises(CircuitBreakerError):
        Client.ping()


@pytest.mark.parametrize(
    "thing", [staticmethod(none), classmethod(none), int, "text"], ids=lambda thing: type(thing).__name__
)
def test_what_cannot_be_guarded_is_refused_at_decoration(breaker: CircuitBreaker, thing: Any) -> None:
    with pytest.raises(InvalidValue, match="func"):
        breaker(thing)


def test_the_traceback_shows_the_caller_s_own_error(breaker: CircuitBreaker) -> None:
    @breaker
    def query() -> None:
        raise Down("no answer")

    with pytest.raises(Down) as raised:
        query()

    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-2:] == ["guarded", "query"]
    assert raised.value.__context__ is None


def test_the_fallback_of_a_decorated_function(breaker: CircuitBreaker) -> None:
    guarded = breaker(none, fallback=lambda error: (error.name,))
    trip(breaker)

    assert guarded() == ("db",)


def test_the_decorator_finds_its_breaker_by_name() -> None:
    @circuit_breaker("wrap-test", 1, registry=None)
    def query(text: str) -> str:
        return text

    assert query("a") == "a"


@pytest.mark.parametrize(
    ("fallback", "answer"), [(dict, {}), (lambda limit=10: limit, 10), (lambda *rest: rest, ()), (repr, None)]
)
def test_a_fallback_gets_the_error_only_if_it_needs_an_argument(
    breaker: CircuitBreaker, fallback: Callable[..., Any], answer: object
) -> None:
    trip(breaker)

    got = breaker.call(none, fallback=fallback)

    assert got == answer if answer is not None else str(got).startswith("CircuitBreakerError")


# Coroutines


async def fetch(value: Any = 42) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, BaseException):
        raise value
    return value


def test_a_coroutine_function_stays_one_and_asks_when_it_is_awaited(breaker: CircuitBreaker) -> None:
    guarded = breaker(fetch)
    waiting = guarded()
    trip(breaker)

    assert inspect.iscoroutinefunction(guarded)
    with pytest.raises(CircuitBreakerError):
        asyncio.run(waiting)


def test_a_failing_coroutine_opens_the_circuit(breaker: CircuitBreaker) -> None:
    with pytest.raises(Down):
        asyncio.run(breaker(fetch)(Down()))

    assert breaker.state == "open"


@pytest.mark.parametrize(
    "fallback", [lambda: 1, lambda error: 1, functools.partial(fetch, 1)], ids=["plain", "with the error", "coroutine"]
)
def test_the_fallback_of_a_coroutine_may_be_one(breaker: CircuitBreaker, fallback: Callable[..., Any]) -> None:
    trip(breaker)

    async def main() -> tuple[int, int]:
        return await breaker(fetch, fallback=fallback)(), await breaker.call(fetch, fallback=fallback)

    assert asyncio.run(main()) == (1, 1)


def test_a_cancelled_probe_gives_its_permit_back(breaker: CircuitBreaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(10)

    async def main() -> None:
        probe = asyncio.create_task(breaker.call(fetch))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert breaker.state == "half_open"
        assert await breaker.call(fetch) == 42

    asyncio.run(main())
    assert breaker.state == "closed"


def test_async_with(breaker: CircuitBreaker) -> None:
    async def main() -> None:
        async with breaker:
            await asyncio.sleep(0)
        async with breaker:
            raise Down

    with pytest.raises(Down):
        asyncio.run(main())

    assert (breaker.state, breaker.snapshot().successes) == ("open", 1)


def test_with_blocks_of_several_tasks_and_breakers_do_not_mix(clock: FakeClock) -> None:
    breakers = [CircuitBreaker(name, 1, clock=clock, registry=None) for name in "ab"]

    async def work(outer: CircuitBreaker, inner: CircuitBreaker, error: bool) -> None:
        async with outer:
            await asyncio.sleep(0)
            async with inner:
                await asyncio.sleep(0)
            if error:
                raise Down

    async def main() -> None:
        a, b = breakers
        await asyncio.gather(work(a, b, False), work(b, a, False), work(a, b, True), return_exceptions=True)

    asyncio.run(main())

    assert [(b.state, b.snapshot().successes) for b in breakers] == [("open", 2), ("closed", 3)]


# Generators


def rows(error: bool = False) -> Generator[int, str, str]:
    got = yield 1
    if error:
        raise Down
    yield len(got or "")
    return "end"


async def async_rows(error: bool = False) -> AsyncGenerator[int, str]:
    try:
        got = yield 1
    except KeyError:
        got = "caught"
    if error:
        raise Down
    yield len(got or "")


def test_a_generator_forwards_send_and_its_value(breaker: CircuitBreaker) -> None:
    guarded = breaker(rows)

    def outer() -> Generator[int, str, str]:
        return (yield from guarded())

    steps = outer()
    assert inspect.isgeneratorfunction(guarded)
    assert (next(steps), steps.send("four")) == (1, 4)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"


def test_a_generator_asks_at_its_first_step_and_tells_at_its_end(breaker: CircuitBreaker) -> None:
    steps = breaker(rows)()
    assert breaker.snapshot().calls == 0
    list(steps)
    assert breaker.snapshot().successes == 1

    with pytest.raises(Down):
        list(breaker.call(rows, True))

    assert breaker.state == "open"
    late = breaker(rows)()
    with pytest.raises(CircuitBreakerError):
        next(late)
    assert list(breaker(rows, fallback=lambda: iter([7]))()) == [7]


def test_a_generator_closed_early_says_nothing(breaker: CircuitBreaker) -> None:
    steps = breaker(rows)()
    next(steps)
    steps.close()

    assert (breaker.snapshot().ignored, breaker.snapshot().calls) == (1, 0)


def test_an_async_generator_forwards_send_throw_and_close(breaker: CircuitBreaker) -> None:
    guarded = breaker(async_rows)

    async def main() -> None:
        steps = guarded()
        assert (await anext(steps), await steps.asend("four")) == (1, 4)
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
        steps = guarded()
        await anext(steps)
        assert await steps.athrow(KeyError("x")) == 6
        await steps.aclose()

    asyncio.run(main())
    assert inspect.isasyncgenfunction(guarded)
    assert (breaker.snapshot().successes, breaker.snapshot().ignored) == (1, 1)


def test_a_failing_async_generator_opens_and_the_next_is_refused(breaker: CircuitBreaker) -> None:
    guarded = breaker(async_rows)

    async def collect(steps: AsyncGenerator[int, str]) -> list[int]:
        return [step async for step in steps]

    with pytest.raises(Down):
        asyncio.run(collect(guarded(True)))
    with pytest.raises(CircuitBreakerError):
        asyncio.run(collect(guarded()))
    assert asyncio.run(collect(breaker(async_rows, fallback=async_rows)())) == [1, 0]


def test_natures_are_seen_through_partials_methods_and_objects() -> None:
    class Client:
        async def get(self) -> None: ...

        async def __call__(self) -> None: ...

    assert nature_of(functools.partial(fetch, 1)) is Nature.COROUTINE
    assert nature_of(Client().get) is Nature.COROUTINE
    assert nature_of(Client()) is Nature.COROUTINE
    assert nature_of(rows) is Nature.GENERATOR
    assert nature_of(async_rows) is Nature.ASYNC_GENERATOR
    assert nature_of(len) is Nature.PLAIN
    assert nature_of(int) is Nature.PLAIN
