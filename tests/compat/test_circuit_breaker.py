"""The promised snippets for circuit breakers, verbatim."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from quadra_matrix.breaker import BREAKERS
from quadra_matrix.errors import CircuitUnknown

DECORATOR = """
from utils.circuit_breaker import circuit_breaker

@circuit_breaker("external_api", failure_threshold=5, recovery_timeout=60)
def call_external_api():
    return requests.get("https://api.example.com/data")

# With fallback
try:
    result = call_external_api()
except CircuitBreakerError:
    result = fallback_data
"""

DIRECT = """
from utils.circuit_breaker import CircuitBreaker

breaker = CircuitBreaker(
    failure_threshold=5,
    recovery_timeout=60,
    name="database"
)

def fallback():
    return {"cached": "data"}

result = breaker.call(
    db.query,
    "SELECT * FROM users",
    fallback=fallback
)
"""

MONITORING = """
from utils.circuit_breaker import get_all_circuit_breaker_metrics

# Get metrics for all breakers
metrics = get_all_circuit_breaker_metrics()
"""

QUICK_START = """
from utils.circuit_breaker import circuit_breaker

@circuit_breaker("external_api", failure_threshold=5)
def call_api():
    return requests.get("https://api.example.com")
"""

PROMISED = json.loads("""
{
    "external_api": {
        "state": "closed",
        "total_requests": 1000,
        "successful_requests": 950,
        "failed_requests": 50,
        "success_rate": 95.0,
        "last_failure_time": "2025-12-21T10:30:00"
    }
}
""")


class Requests:
    """A stand-in for the HTTP library: it answers, or it is down."""

    is_down = False

    def get(self, url: str) -> str:
        if self.is_down:
            raise ConnectionError(url)
        return f"data of {url}"


@pytest.fixture(autouse=True)
def _free_names() -> Iterator[None]:
    yield
    for name in ("external_api", "database"):
        try:
            BREAKERS.remove(name)
        except CircuitUnknown:
            continue


def run(snippet: str, **names: Any) -> SimpleNamespace:
    """Run a snippet among ``names`` and return what it left."""
    exec(compile(textwrap.dedent(snippet), "<snippet>", "exec"), names)
    return SimpleNamespace(**names)


def test_the_decorator() -> None:
    from utils.circuit_breaker import CircuitBreakerError

    requests = Requests()
    names = {"requests": requests, "CircuitBreakerError": CircuitBreakerError, "fallback_data": "cached"}
    after = run(DECORATOR, **names)
    assert after.result == "data of https://api.example.com/data"

    requests.is_down = True
    for _ in range(5):
        with pytest.raises(ConnectionError):
            after.call_external_api()

    assert run(DECORATOR, **names).result == "cached"


def test_direct_use() -> None:
    class Database:
        is_down = False

        def query(self, text: str) -> dict[str, str]:
            if self.is_down:
                raise ConnectionError(text)
            return {"rows": text}

    db = Database()
    after = run(DIRECT, db=db)
    assert after.result == {"rows": "SELECT * FROM users"}

    db.is_down = True
    for _ in range(5):
        with pytest.raises(ConnectionError):
            after.breaker.call(db.query, "SELECT 1")

    assert run(DIRECT, db=db).result == {"cached": "data"}


def test_monitoring_has_exactly_the_promised_keys_and_types() -> None:
    requests = Requests()
    after = run(QUICK_START, requests=requests)
    for call in range(1000):
        requests.is_down = call % 20 == 0
        try:
            after.call_api()
        except ConnectionError:
            continue

    metrics = run(MONITORING).metrics["external_api"]
    promised = PROMISED["external_api"]

    assert list(metrics) == list(promised)
    assert {key: type(value) for key, value in metrics.items()} == {key: type(v) for key, v in promised.items()}
    told = {key: value for key, value in metrics.items() if key != "last_failure_time"}
    assert told == {key: value for key, value in promised.items() if key != "last_failure_time"}
    assert len(metrics["last_failure_time"]) == len(promised["last_failure_time"])


def test_the_states_have_the_promised_names() -> None:
    from utils.circuit_breaker import CircuitState

    assert [state.name for state in CircuitState] == ["CLOSED", "OPEN", "HALF_OPEN"]
