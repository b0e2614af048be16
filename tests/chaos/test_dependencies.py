"""A dependency is taken away or slowed between it and the service; what arrived is asked of the dependency itself."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.chaos import planfile
from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.dependency import Kind, ping_of
from quadra_matrix.chaos.outcome import Verdict
from quadra_matrix.errors import InvalidValue
from tests.chaos.conftest import Service
from tests.services.postgres import Postgres
from tests.services.process import free_port
from tests.services.redis import redis_server


def outcome_of(service: Service, folder: Path, port: int, kind: str, **fault: Any) -> Any:
    document = {
        "name": "a dependency",
        "target": {"url": service.url},
        "faults": [{"dependency": f"127.0.0.1:{port}", "listen": f"127.0.0.1:{free_port()}", "kind": kind, **fault}],
        "hold": 5,
        "rto": 20,
        "probing": {"rate": 100, "timeout": 2, "samples": 200},
        "margins": {"slack": 0.1},
    }
    return run(planfile.parse(document), Surroundings(folder / "chaos"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["reset", "hang"])
def test_redis_is_away_for_those_behind_the_proxy(how: str, service: Service, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        outcome = outcome_of(service, tmp_path, redis.port, "redis", fault="away", how=how)

    assert outcome.verdict is Verdict.TOLERATED, outcome  # the service does not use it
    assert outcome.doses[0].delivered == 100
    assert outcome.overhead is None


@pytest.mark.slow
def test_redis_is_slowed(service: Service, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        outcome = outcome_of(service, tmp_path, redis.port, "redis", fault="latency", milliseconds=150)

    assert outcome.doses[0].delivered == pytest.approx(150, abs=15)


@pytest.mark.slow
def test_postgres_is_slowed(service: Service, postgres: Postgres, tmp_path: Path) -> None:
    outcome = outcome_of(service, tmp_path, postgres.port, "postgres", fault="latency", milliseconds=150)

    assert outcome.doses[0].delivered == pytest.approx(150, abs=15)


@pytest.mark.slow
def test_a_service_over_http_is_slowed(service: Service, tmp_path: Path) -> None:
    outcome = outcome_of(service, tmp_path, service.port, "http", fault="latency", milliseconds=150)

    assert outcome.doses[0].delivered == pytest.approx(150, abs=15)


def test_what_answers_in_another_protocol_does_not_count(service: Service) -> None:
    assert not ping_of(Kind.REDIS, service.address)(5)
    with pytest.raises(TimeoutError):  # it waits for a line that never ends
        ping_of(Kind.POSTGRES, service.address)(0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        ping_of(Kind.REDIS, f"127.0.0.1:{silent.getsockname()[1]}")(0.1)


def test_the_target_must_know_where_the_proxy_listens() -> None:
    with pytest.raises(InvalidValue, match="listen"):
        planfile.parse({"name": "x", "faults": [{"fault": "away", "dependency": "127.0.0.1:6379"}]})
