"""An application with circuit breakers: what clients and operators get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from werkzeug.serving import make_server

from quadra_matrix.breaker import CircuitBreaker, Registry
from quadra_matrix.breaker.cli import breakers
from quadra_matrix.breaker.flask import setup_circuit_breakers
from quadra_matrix.cli import main
from quadra_matrix.errors import CircuitBreakerError
from quadra_matrix.testing import FakeClock

ADMIN = "/admin/circuit-breakers"


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def breaker(registry: Registry) -> CircuitBreaker:
    return CircuitBreaker("db/main", 1, 9.5, clock=FakeClock(), registry=registry)


@pytest.fixture
def app(registry: Registry, breaker: CircuitBreaker) -> Flask:
    app = Flask("shop")

    @app.get("/items")
    @breaker
    def items() -> str:
        return "tea"

    setup_circuit_breakers(app, registry)
    return app


def trip(breaker: CircuitBreaker) -> None:
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)


def test_an_open_circuit_is_503_with_the_seconds_to_wait(app: Flask, breaker: CircuitBreaker) -> None:
    assert app.test_client().get("/items").text == "tea"
    trip(breaker)

    answer = app.test_client().get("/items")

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "10"
    assert answer.get_json() == {
        "type": "urn:quadra-matrix:problem:circuit-breaker-error",
        "title": "Circuit breaker error",
        "status": 503,
        "detail": "a part of this service does not answer; try again in 10 s",
        "instance": "/items",
    }


def test_a_circuit_that_is_forced_open_names_no_time(app: Flask, breaker: CircuitBreaker) -> None:
    breaker.force_open()

    answer = app.test_client().get("/items")

    assert answer.status_code == 503
    assert "Retry-After" not in answer.headers


def test_operators_list_and_show_breakers(app: Flask, breaker: CircuitBreaker) -> None:
    trip(breaker)

    listed = app.test_client().get(ADMIN)
    shown = app.test_client().get(f"{ADMIN}/db/main")

    assert listed.get_json()["circuit_breakers"] == [shown.get_json()]
    assert listed.headers["Cache-Control"] == "no-store"
    assert shown.get_json()["state"] == "open"
    assert shown.get_json()["last_failure"] == "ZeroDivisionError('division by zero')"


@pytest.mark.parametrize(
    ("action", "state", "mode"),
    [
        ("open", "open", "forced_open"),
        ("close", "closed", "automatic"),
        ("reset", "closed", "automatic"),
        ("disable", "closed", "disabled"),
        ("shadow", "closed", "shadow"),
    ],
)
def test_operators_change_a_breaker(app: Flask, breaker: CircuitBreaker, action: str, state: str, mode: str) -> None:
    trip(breaker)

    answer = app.test_client().post(f"{ADMIN}/db/main", json={"action": action})

    assert (answer.get_json()["state"], answer.get_json()["mode"]) == (state, mode)
    assert (breaker.state, breaker.mode) == (state, mode)


@pytest.mark.parametrize(
    "body",
    [{"json": {"action": "explode"}}, {"json": {}}, {"json": ["open"]}, {"data": '{"action": "open"}'}, {"data": b"{"}],
    ids=str,
)
def test_anything_else_is_refused(app: Flask, breaker: CircuitBreaker, body: dict[str, Any]) -> None:
    answer = app.test_client().post(f"{ADMIN}/db/main", **body)

    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert breaker.state == "closed"


def test_an_unknown_name_is_404(app: Flask) -> None:
    assert app.test_client().get(f"{ADMIN}/cache").status_code == 404
    assert app.test_client().post(f"{ADMIN}/cache", json={"action": "open"}).status_code == 404


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {"Host": "[::1]:5000"}, 200),
        ("::1", {"Host": "[::1]"}, 200),
        ("127.0.0.1", {"Host": "127.0.0.1:5000"}, 200),
        ("10.0.0.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, 403),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}, 403),
        ("127.0.0.1", {"Host": "rebound.example"}, 403),
        ("", {}, 403),
    ],
)
def test_by_default_only_this_machine_is_an_operator(
    app: Flask, breaker: CircuitBreaker, peer: str, headers: dict[str, str], status: int
) -> None:
    client = app.test_client()
    environ = {"REMOTE_ADDR": peer}

    answers = [
        client.get(ADMIN, headers=headers, environ_base=environ),
        client.post(f"{ADMIN}/db/main", json={"action": "reset"}, headers=headers, environ_base=environ),
    ]

    assert [answer.status_code for answer in answers] == [status, status]


def test_the_application_may_say_who_is_an_operator(registry: Registry) -> None:
    app = Flask("shop")
    setup_circuit_breakers(app, registry, authorize=lambda: False, prefix="/ops")

    assert app.test_client().get("/ops").status_code == 403
    assert app.extensions["circuit_breakers"] is registry


# The command, against a running service


@pytest.fixture
def run(app: Flask) -> Iterator[Callable[..., Any]]:
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["breakers", *words, "--url", f"http://127.0.0.1:{server.port}/"])

    yield run
    server.shutdown()
    thread.join(30)
    server.server_close()


def test_the_command_lists_breakers(run: Callable[..., Any], breaker: CircuitBreaker) -> None:
    table, listed = run("list"), run("list", "--json")

    assert table.output.splitlines()[0].split()[:3] == ["name", "state", "mode"]
    assert table.output.splitlines()[1].split()[:3] == ["db/main", "closed", "automatic"]
    assert '"name": "db/main"' in listed.output


def test_the_command_opens_closes_and_resets(run: Callable[..., Any], breaker: CircuitBreaker) -> None:
    assert run("open", "db/main").exit_code == 0
    with pytest.raises(CircuitBreakerError):
        breaker.call(int)
    assert "closed" in run("close", "db/main").output
    assert breaker.call(int) == 0
    assert run("open", "db/main", "--json").exit_code == 0
    assert '"mode": "automatic"' in run("reset", "db/main", "--json").output


def test_the_command_names_what_went_wrong(run: Callable[..., Any]) -> None:
    answer = run("open", "cache")

    assert answer.exit_code == 1
    assert "no circuit breaker is named 'cache'" in answer.output


def test_the_command_helps() -> None:
    assert set(breakers.commands) == {"list", "open", "close", "reset"}
