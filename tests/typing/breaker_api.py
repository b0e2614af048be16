"""What the type checkers must see in the breaker. Read by them; never run."""

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

from quadra_matrix.breaker import CircuitBreaker, FailureRate, circuit_breaker
from quadra_matrix.errors import CircuitBreakerError
from utils.circuit_breaker import CircuitBreaker as Promised

breaker = CircuitBreaker("db", 5, 60, rules=[FailureRate(0.5, calls=20)], ignored_types=(KeyError,))
assert_type(breaker, CircuitBreaker)
assert_type(Promised(failure_threshold=5, recovery_timeout=60, name="database"), CircuitBreaker)


@circuit_breaker("api", failure_threshold=5, recovery_timeout=60)
def plain(item: str, *, count: int = 1) -> float:
    return 0.5


@breaker
async def wait(item: str) -> int:
    return 1


@circuit_breaker("rows")
def rows(table: str) -> Generator[int, str, bool]:
    yield 1
    return True


@circuit_breaker("rows")
async def async_rows(table: str) -> AsyncGenerator[int, str]:
    yield 1


class Client:
    @circuit_breaker("client")
    def get(self, path: str) -> bytes:
        return b""


assert_type(plain("tea", count=2), float)
assert_type(rows("items"), Generator[int, str, bool])
assert_type(async_rows("items"), AsyncGenerator[int, str])
assert_type(Client().get("/"), bytes)
assert_type(breaker.call(plain, "tea", fallback=lambda: 0.0), float)


async def use() -> None:
    assert_type(await wait("tea"), int)
    assert_type(await breaker.call(wait, "tea"), int)
    async with breaker as entered:
        assert_type(entered, CircuitBreaker)


def refused(error: CircuitBreakerError) -> None:
    assert_type(error.name, str)
    assert_type(error.retry_after, float | None)
    assert_type(error.last_failure, BaseException | None)


# Each of these lines is an error that a checker must find; an unused expectation is reported.
plain(1)  # type: ignore[arg-type]
plain("tea", coun=2)  # type: ignore[call-arg]
CircuitBreaker("db", failure_treshold=5)  # type: ignore[call-arg]
circuit_breaker("db", half_open_permits="one")  # type: ignore[arg-type]
answer: str = plain("tea")  # type: ignore[assignment]
