"""A Redis that answers, and one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra_matrix.errors import InvalidValue, RedisUnavailable
from quadra_matrix.storage.redis import SharedRedis
from tests.services.process import free_port
from tests.services.redis import redis_server


def test_a_redis_that_comes_back_is_well_again(tmp_path: Path) -> None:
    port = free_port()
    shared = SharedRedis(f"redis://:hunter2@127.0.0.1:{port}/0")

    with pytest.raises(RedisUnavailable) as failed:
        shared.ping()
    with redis_server(tmp_path, port):
        SharedRedis(f"redis://127.0.0.1:{port}/0").ping()

    assert "hunter2" not in str(failed.value)
    shared.close()


def test_an_address_of_another_kind_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidValue, match="redis_url") as refused:
        SharedRedis("http://:hunter2@host")

    assert "hunter2" not in str(refused.value)
