"""How often a caller may come: a token bucket, counted by the time at which it is full again. Pure.

The bucket holds ``limit`` tokens and gains one each ``seconds / limit``. All that is kept of it is the moment at which
it is full, so one number in memory or in Redis is enough, and a bucket that is full needs none (the generic cell rate
algorithm, ITU-T I.371).
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.errors import InvalidValue, require

CLOSE = 1e-3
"""The part of an interval that rounding may add to a time; a token that is this close counts as there."""

_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LIMIT = re.compile(
    r"(?P<limit>[1-9][0-9]{0,8})/(?P<period>second|minute|hour|day|[1-9][0-9]{0,5}s)"
    r"(?: by (?P<by>caller|address|route))?(?: on (?P<on>/[!-~]*))?"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` calls at once, and as many again in ``seconds``."""

    limit: int
    seconds: float

    def __post_init__(self) -> None:
        require(self.limit >= 1, "limit", self.limit, "1 or more")
        require(0 < self.seconds <= 86400, "seconds", self.seconds, "above 0 and at most a day")

    @property
    def interval(self) -> float:
        """Return the seconds in which a bucket gains one token."""
        return self.seconds / self.limit


class By(enum.StrEnum):
    """Whose calls are counted together."""

    CALLER = "caller"
    """Those of one key, token or session; without any, those of one address."""
    ADDRESS = "address"
    """Those of one IPv4 address, or of one IPv6 network of 64 bits, which is what one customer has."""
    ROUTE = "route"
    """Those of everybody, for each route."""


class Direction(enum.StrEnum):
    """What a limit does while the store of shared buckets is away."""

    LOCAL = "local"
    """Each process counts alone."""
    OPEN = "open"
    """Everybody may go on."""
    CLOSED = "closed"
    """Nobody may."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One rate, and what it is about."""

    rate: Rate
    by: By = By.CALLER
    on: str = "/"
    """Beginning of the paths that it is about."""
    direction: Direction = Direction.LOCAL

    @property
    def name(self) -> str:
        """Return the limit in words, as callers read it and ``read_limit`` takes it."""
        period = {seconds: name for name, seconds in _PERIODS.items()}.get(self.rate.seconds, f"{self.rate.seconds:g}s")
        place = "" if self.on == "/" else f" on {self.on}"
        return f"{self.rate.limit}/{period} by {self.by}{place}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a bucket says to one call."""

    is_allowed: bool
    remaining: int
    """Tokens left."""
    reset_after: float
    """Seconds until the bucket is full."""
    retry_after: float = 0.0
    """Seconds until there is a token; 0 where the call was allowed."""


def read_limit(text: str) -> Limit:
    """Return the limit that a text such as ``100/minute by address on /api/predict`` stands for.

    >>> read_limit("20/10s").name
    '20/10s by caller'
    """
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise InvalidValue("limit", text, "like 100/minute by caller on /api, by caller, address or route")
    period = found["period"]
    seconds = _PERIODS[period] if period in _PERIODS else float(period[:-1])
    return Limit(Rate(int(found["limit"]), seconds), By(found["by"] or By.CALLER), found["on"] or "/")


def decide(full_at: Sequence[float], rates: Sequence[Rate], now: float) -> tuple[Sequence[float], Sequence[Decision]]:
    """Take one token of each bucket, or of none if one is empty: return when they are full then, and what they say."""
    taken = [max(full, now) + rate.interval for full, rate in zip(full_at, rates, strict=True)]
    waits = [_wait(after - now, rate) for after, rate in zip(taken, rates, strict=True)]
    after = full_at if any(waits) else taken
    return after, [
        _said(max(full - now, 0.0), rate, wait) for full, rate, wait in zip(after, rates, waits, strict=True)
    ]


def _wait(empty: float, rate: Rate) -> float:
    """Return the seconds until a bucket may be ``empty`` seconds from full: 0 if it may be so now."""
    wait = empty - rate.seconds
    return wait if wait > CLOSE * rate.interval else 0.0


def _said(empty: float, rate: Rate, wait: float) -> Decision:
    return Decision(wait == 0, max(0, math.floor((rate.seconds - empty) / rate.interval + CLOSE)), empty, wait)


def policy_of(limit: Limit) -> str:
    """Return what the header ``RateLimit-Policy`` says of a limit (draft-ietf-httpapi-ratelimit-headers-10)."""
    return f'"{limit.name}";q={limit.rate.limit};w={math.ceil(limit.rate.seconds)}'


def state_of(name: str, said: Decision) -> str:
    """Return what the header ``RateLimit`` says of the limit of that name."""
    return f'"{name}";r={said.remaining};t={math.ceil(said.retry_after or said.reset_after)}'
