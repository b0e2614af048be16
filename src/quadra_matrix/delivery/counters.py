"""Raw counters of a version, and what was counted between two readings of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counters:
    """What one instance, or several together, counted. Every number only ever grows until the instance restarts."""

    requests: int = 0
    errors: int = 0
    slower: dict[float, int] = field(default_factory=dict)
    """Upper bound in milliseconds -> requests that took longer. Empty where there is no histogram."""
    timed: int = 0
    """Requests in the histogram: it may lag behind ``requests``."""
    custom: dict[str, int] = field(default_factory=dict)
    """Counter of the user's -> bad events."""

    def __add__(self, other: Counters) -> Counters:
        """Return both together."""
        return Counters(
            self.requests + other.requests,
            self.errors + other.errors,
            {
                bound: self.slower.get(bound, 0) + other.slower.get(bound, 0)
                for bound in {**self.slower, **other.slower}
            },
            self.timed + other.timed,
            {name: self.custom.get(name, 0) + other.custom.get(name, 0) for name in {**self.custom, **other.custom}},
        )

    def __sub__(self, before: Counters) -> Counters:
        """Return what was counted since ``before``."""
        return Counters(
            self.requests - before.requests,
            self.errors - before.errors,
            {bound: count - before.slower.get(bound, 0) for bound, count in self.slower.items()},
            self.timed - before.timed,
            {name: count - before.custom.get(name, 0) for name, count in self.custom.items()},
        )

    def went_back(self, before: Counters) -> bool:
        """Tell whether a counter is smaller than before: the instance restarted."""
        return (
            self.requests < before.requests
            or self.errors < before.errors
            or self.timed < before.timed
            or any(self.custom.get(name, 0) < count for name, count in before.custom.items())
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The raw counters of a version at one instant, by instance."""

    instances: dict[str, Counters] = field(default_factory=dict)
    strays: int = 0
    """Requests among these that another version answered; a tick in which it changes is not judged."""


NOTHING = Counters()


def since(before: Reading | None, after: Reading) -> Counters:
    """Return what was counted between two readings.

    Without an earlier reading nothing is known to be new. An instance that was not there before started in between, and
    one whose counters went back restarted in between: both count from zero.
    """
    if before is None:
        return NOTHING
    total = NOTHING
    for name, now in after.instances.items():
        then = before.instances.get(name)
        total += now if then is None or now.went_back(then) else now - then
    return total


def strayed(before: Reading | None, after: Reading) -> bool:
    """Tell whether another version answered some of the requests between two readings."""
    return before is not None and before.strays != after.strays


def slow_bound(stable: Counters, quantile: float) -> float | None:
    """Return the lowest bound that at most ``1 - quantile`` of stable's requests exceed, in milliseconds.

    None without a histogram, with too few requests to know the quantile (20 beyond it), or beyond the last bound.
    """
    beyond = stable.timed * (1.0 - quantile)
    if not stable.slower or beyond < 20:
        return None
    return next((bound for bound, count in sorted(stable.slower.items()) if count <= beyond), None)


def grown_bound(bounds: Iterable[float], bound: float, growth: float) -> float | None:
    """Return the lowest bound at or above ``growth`` times ``bound``, or None beyond the last."""
    ordered = sorted(bounds)
    place = bisect_left(ordered, bound * growth)
    return ordered[place] if place < len(ordered) else None
