"""Token buckets in Redis: one script takes of all the buckets of a call, so nothing is ever locked or counted twice."""

from __future__ import annotations

from collections.abc import Sequence

from quadra_matrix.access.limiter import Asked
from quadra_matrix.access.limits import Decision
from quadra_matrix.errors import InvalidValue, MissingExtra, RedisUnavailable, require

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise MissingExtra("redis", "redis") from missing

TIMEOUT = 0.02
"""Seconds that Redis may take to accept a connection, and again to answer: 40 ms in all."""

# The arithmetic of limits.decide, on the clock of Redis, which all processes share.
TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local after, answers, refused = {}, {}, false
for i, key in ipairs(KEYS) do
    local seconds, interval = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local full = math.max(tonumber(redis.call('GET', key) or now), now)
    local wait = full + interval - seconds - now
    if wait > interval / 1000 then refused = true else wait = 0 end
    after[i] = {full, full + interval, wait}
end
for i, key in ipairs(KEYS) do
    local seconds, interval = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local full = refused and after[i][1] or after[i][2]
    if not refused then
        redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1)
    end
    local left = math.max(0, math.floor((seconds - (full - now)) / interval + 0.001))
    answers[i] = {left, string.format('%.6f', full - now), string.format('%.6f', after[i][3])}
end
return answers
"""


class RedisBuckets:
    """``SharedBuckets`` in Redis 6 or later. Nothing is opened before the first use; may be shared between threads.

    A bucket is one number that expires when the bucket is full.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT, prefix: str = "quadra:limit:") -> None:
        require(timeout > 0, "timeout", timeout, "above 0 seconds")
        self._prefix = prefix
        try:
            # No retries: a caller waits for this, and each process counts alone when Redis is away.
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            rule = "an address like redis://host:6379/0"
            raise InvalidValue("url", "(not shown)", rule) from None  # the address may hold a password
        self._take = self._client.register_script(TAKE)

    def take(self, asked: Asked) -> Sequence[Decision]:
        """Take a token of each bucket, or of none; say what each said. Raises ``RedisUnavailable``."""
        names = [self._prefix + name for name, _ in asked]
        rates = [number for _, rate in asked for number in (rate.seconds, rate.interval)]
        try:
            said = self._take(keys=names, args=rates)
        except redis.RedisError as failed:
            raise self._lost(failed) from failed
        return [_decision(int(left), float(full), float(wait)) for left, full, wait in said]

    def ping(self) -> None:
        """Return when Redis answers; raise ``RedisUnavailable`` when it does not."""
        try:
            self._client.ping()
        except redis.RedisError as failed:
            raise self._lost(failed) from failed

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self._client.close()

    def _lost(self, failed: Exception) -> RedisUnavailable:
        """Drop the idle connections: if one broke, the others probably did, and each would fail a request."""
        self._client.connection_pool.disconnect(inuse_connections=False)
        return RedisUnavailable(str(failed))


def _decision(left: int, full: float, wait: float) -> Decision:
    return Decision(wait == 0, left, full, wait)
