"""The servers that tests use start, answer and stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.postgres import postgres_server
from tests.services.process import accepts
from tests.services.redis import redis_server


def test_redis_starts_and_stops(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        assert accepts(redis.port)

    assert not accepts(redis.port)


@pytest.mark.slow
def test_postgres_starts_and_stops() -> None:
    with postgres_server() as postgres:
        assert accepts(postgres.port)
        assert postgres.create_database("second").endswith("/second")

    assert not accepts(postgres.port)
