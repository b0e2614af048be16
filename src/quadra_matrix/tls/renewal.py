"""When to renew a certificate, when to try again, when to worry: pure; time and chance are arguments.

All times are seconds since the epoch, all lengths are seconds. A ``chance`` lies between 0 and 1; the caller derives it
from the certificate, so that every host that asks gets the same answer.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from quadra_matrix.errors import require

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

SHORT_LIFE = 10 * DAY
"""A certificate that lives shorter is renewed at half of its life, because retries need the time."""

JITTER = 0.02
"""Part of the life by which a renewal may come earlier, so that a fleet does not order at one moment."""

LAST_CALL = 0.05
"""Part of the life that is left when a window of the authority is overruled: retries need the time."""

SETTLING, SETTLING_PART = 6 * HOUR, 0.1
"""Seconds, and at most a part of the life, in which a new certificate is not replaced: a window that is always in the
past would order without end."""

FIRST_PAUSE, LONGEST_PAUSE = 15 * MINUTE, 12 * HOUR
"""After a failure, and at most. Let's Encrypt allows five failed validations of a name an hour."""

ASK_AGAIN = 6 * HOUR
"""When to ask for the window again if the authority does not say, or could not be asked (RFC 9773, 4.3.3)."""


@dataclass(frozen=True, slots=True)
class Life:
    """The time in which a certificate is good."""

    begins: float
    expires: float

    def __post_init__(self) -> None:
        require(self.begins < self.expires, "expires", self.expires, f"after begins, {self.begins}")

    @property
    def length(self) -> float:
        """Return its length."""
        return self.expires - self.begins


@dataclass(frozen=True, slots=True)
class Window:
    """When the authority asks for the renewal (ARI, RFC 9773)."""

    start: float
    end: float

    def __post_init__(self) -> None:
        require(self.start < self.end, "end", self.end, f"after start, {self.start}")


@dataclass(frozen=True, slots=True)
class Attempts:
    """What became of the orders since the certificate that serves was issued."""

    failures: int = 0
    """In a row."""
    last: float = 0.0
    """When the last one failed."""
    not_before: float = 0.0
    """When the authority is ready for the next one, by its ``Retry-After``."""
    reason: str = ""
    """Why the last one failed."""


NO_ATTEMPTS = Attempts()


class Standing(enum.StrEnum):
    """How a certificate stands."""

    MISSING = "missing"
    GOOD = "good"
    LATE = "late"
    """In the last third of its life, and not renewed although it should be."""
    EXPIRED = "expired"


def renewal_time(begins: float, expires: float) -> float:
    """Return when to renew a certificate of this life if the authority does not say, before jitter.

    >>> renewal_time(0, 90 * DAY) / DAY
    60.0
    >>> renewal_time(0, 6 * DAY) / DAY
    3.0
    """
    life = expires - begins
    return begins + (life / 2 if life < SHORT_LIFE else life * 2 / 3)


def due_at(life: Life, window: Window | None, chance: float) -> float:
    """Return when to renew: a moment of the authority's window, else two thirds of the life less the jitter.

    One draw for each certificate: a new draw at each look would move the renewal to the start of the window.
    """
    if window is None:
        return renewal_time(life.begins, life.expires) - chance * JITTER * life.length
    asked = window.start + chance * (window.end - window.start)
    settled = life.begins + min(SETTLING, SETTLING_PART * life.length)
    return min(max(asked, settled), life.expires - LAST_CALL * life.length)


def next_attempt(attempts: Attempts, chance: float) -> float:
    """Return when an order may be tried: after a pause that doubles, never before the authority is ready."""
    if not attempts.failures:
        return attempts.not_before
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts.failures - 1, 30))
    return max(attempts.not_before, attempts.last + pause * (1 + chance / 10))


def order_at(life: Life | None, window: Window | None, attempts: Attempts, chance: float) -> float:
    """Return when to order: at once if there is no certificate, else when it is due, but after the pauses."""
    due = -math.inf if life is None else due_at(life, window, chance)
    return max(due, next_attempt(attempts, chance))


def ask_again_in(seconds: float | None) -> float:
    """Return after how long to ask for the window again, given ``Retry-After``: a minute to a day (RFC 9773, 4.3.2)."""
    return ASK_AGAIN if seconds is None else min(DAY, max(MINUTE, seconds))


def standing(life: Life | None, due: float, attempts: Attempts, now: float) -> Standing:
    """Return how the certificate stands; one that is not due, or only just, is good."""
    if life is None:
        return Standing.MISSING
    if now >= life.expires:
        return Standing.EXPIRED
    is_last_third = now >= life.begins + life.length * 2 / 3
    is_overdue = now >= due + life.length * JITTER
    return Standing.LATE if is_last_third and (attempts.failures or is_overdue) else Standing.GOOD
