"""Keep a fleet's circuits in Redis. A document is read and swapped by one script each; nothing is ever locked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from quadra_matrix.breaker.shared import Kept
from quadra_matrix.errors import MissingExtra, SharedStateLost, require

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise MissingExtra("redis", "redis") from missing

READ = """
local time = redis.call('TIME')
local kept = redis.call('HMGET', KEYS[1], 'version', 'document')
return {time[1], time[2], kept[1] or '', kept[2] or ''}
"""

SWAP = """
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'document', ARGV[3])
return 1
"""


class RedisStore:
    """A ``SharedStore`` in Redis 6 or later; give the same one to every breaker. May be shared between threads.

    ``interval`` is how many seconds a process relies on what it saw last; ``timeout`` how many one round trip may take.
    A circuit is one small hash, ``prefix`` and its name, without an expiry: an operator's decision must not run out.
    """

    def __init__(
        self, url: str, *, interval: float = 1.0, timeout: float = 0.25, prefix: str = "quadra:breaker:"
    ) -> None:
        require(interval > 0, "interval", interval, "above 0 seconds")
        require(timeout > 0, "timeout", timeout, "above 0 seconds")
        self.interval = interval
        self._prefix = prefix
        # No retries: a caller waits for this, and the breaker decides alone when Redis is away.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )
        server = self._client.connection_pool.connection_kwargs
        self._address = str(server.get("path") or f"{server.get('host')}:{server.get('port')}")
        self._read, self._swap = self._client.register_script(READ), self._client.register_script(SWAP)

    def __repr__(self) -> str:
        return f"<RedisStore {self._address}>"

    def read(self, name: str) -> Kept:
        """Return what is kept about the circuit, and the time of the Redis server."""
        try:
            seconds, micros, version, document = self._read(keys=[self._prefix + name])
        except redis.RedisError as failed:
            raise SharedStateLost(repr(self), str(failed)) from failed
        return Kept(int(seconds) + int(micros) / 1e6, version, json.loads(document) if document else None)

    def swap(self, name: str, version: str, document: Mapping[str, Any]) -> bool:
        """Keep ``document`` if ``version`` is still the one kept; return whether it was."""
        text = json.dumps(document, allow_nan=False)
        try:
            done = self._swap(keys=[self._prefix + name], args=[version, secrets.token_hex(8), text])
        except redis.RedisError as failed:
            raise SharedStateLost(repr(self), str(failed)) from failed
        return bool(done)
