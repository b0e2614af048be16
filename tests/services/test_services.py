"""The servers that tests use start, answer and stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.postgres import postgres_server
from tests.services.process import accepts, needs
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


def test_a_missing_server_skips_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUADRA_TEST_NO_SKIP", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no-such-server is missing; install it with: apt-get install it"):
        needs("no-such-server", "apt-get install it")


def test_a_missing_server_fails_where_skipping_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_TEST_NO_SKIP", "1")

    with pytest.raises(pytest.fail.Exception, match="no-such-server is missing"):
        needs("no-such-server", "apt-get install it")
