"""Whether the Redis that several machines share answers."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from quadra_matrix.errors import InvalidValue, RedisUnavailable

TIMEOUT = 2.0
"""Seconds Redis may take to accept a connection, and to answer."""


class SharedRedis:
    """A pool of connections to ``url``. Nothing is opened before the first use; may be shared between threads."""

    def __init__(self, url: str) -> None:
        try:
            self._client = Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        except ValueError:
            rule = "an address like redis://host:6379/0"
            raise InvalidValue("redis_url", "(not shown)", rule) from None  # the address may hold a password

    def ping(self) -> None:
        """Return when Redis answers; raise ``RedisUnavailable`` when it does not."""
        try:
            self._client.ping()
        except RedisError as failed:
            raise RedisUnavailable(str(failed)) from failed

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self._client.close()
