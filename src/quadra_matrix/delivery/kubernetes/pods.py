"""How many pods each of two Deployments should have next, so that never too few are ready; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of stable and canary: how many are asked for."""

    stable: int
    canary: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.stable + self.canary


@dataclass(frozen=True, slots=True)
class Floors:
    """Ready pods that there must be at every instant."""

    together: int
    stable: int = 0
    canary: int = 0


def split(total: int, percent: float) -> Pods:
    """Return the whole pods nearest to a share, at least one on each side.

    >>> split(10, 25)
    Pods(stable=8, canary=2)
    >>> split(10, 99)
    Pods(stable=1, canary=9)
    """
    canary = max(1, min(round(total * percent / 100.0), total - 1))
    return Pods(max(1, total - canary), canary)


def share(pods: Pods) -> float:
    """Return the percent of the traffic that the canary's pods get.

    >>> share(Pods(stable=2, canary=1))
    33.33
    """
    return round(100.0 * pods.canary / pods.total, 2) if pods.total else 0.0


def towards(aim: Pods, asked: Pods, ready: Pods, floors: Floors) -> Pods:
    """Return what to ask for next: raise at once, lower only as far as the other side's ready pods allow."""
    return Pods(
        _next(aim.stable, asked.stable, max(floors.stable, floors.together - ready.canary)),
        _next(aim.canary, asked.canary, max(floors.canary, floors.together - ready.stable)),
    )


def is_there(aim: Pods, asked: Pods, ready: Pods) -> bool:
    """Tell whether everything that is wanted is asked for, and ready."""
    return asked == aim and ready.stable >= aim.stable and ready.canary >= aim.canary


def _next(aim: int, asked: int, floor: int) -> int:
    """Return one side's next number: never above what is asked for when it is to shrink."""
    return aim if aim >= asked else max(aim, min(asked, floor))
