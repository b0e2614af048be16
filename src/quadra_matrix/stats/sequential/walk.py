"""The score of a group-sequential test as a random walk: where it is, and where the next bound must be.

The score's increments are independent, Normal(0, increase of the fraction). Its density, cut at each look's bounds, is
kept on a grid and carried to the next look by Simpson's rule (Armitage, McPherson & Rowe 1969).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, pi, sqrt

from quadra_matrix.stats.special import normal_point, normal_tail

HIGHEST_Z = 37.0
"""The bound of a look that may spend nothing: the tail beyond it is 6e-300."""
_REACH = 8.0
"""Standard deviations beyond which a normal density is nothing."""
_FINENESS = 4
"""Grid points in one standard deviation of the latest step."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The density of the score on an even grid from ``low`` to ``high``."""

    fraction: float = 0.0
    low: float = 0.0
    high: float = 0.0
    density: tuple[float, ...] = ()


START = Walk()


def bound_of(walk: Walk, fraction: float, allowed: float) -> float:
    """Return the bound, in standard errors, that the walk passes at ``fraction`` with chance ``allowed``."""
    if allowed < 1e-290:
        return HIGHEST_Z
    if not walk.density:
        return min(HIGHEST_Z, normal_point(allowed))
    deviation, scale = sqrt(fraction - walk.fraction), sqrt(fraction)
    masses = _masses(_refined(walk, deviation))
    low, high = 0.0, HIGHEST_Z
    while high - low > 1e-9:
        middle = (low + high) / 2
        passes = sum(mass * normal_tail((middle * scale - at) / deviation) for at, mass in masses)
        low, high = (middle, high) if passes > allowed else (low, middle)
    return high


def step(walk: Walk, fraction: float, lowest: float, highest: float) -> Walk:
    """Carry the walk to ``fraction`` and keep what lies between the bounds, given in standard errors."""
    deviation, scale = sqrt(fraction - walk.fraction), sqrt(fraction)
    low, high = max(lowest, -_REACH) * scale, min(highest, _REACH) * scale
    count = _even(_FINENESS * (high - low) / deviation)
    grid = [low + (high - low) * i / count for i in range(count + 1)]
    masses = _masses(_refined(walk, deviation)) if walk.density else [(0.0, 1.0)]
    return Walk(fraction, low, high, _smoothed(masses, grid, deviation))


def _smoothed(masses: list[tuple[float, float]], grid: list[float], deviation: float) -> tuple[float, ...]:
    """Return the density at each grid point after a normal step from the masses; both lists ascend."""
    factor, twice, reach = 1 / (deviation * sqrt(2 * pi)), 2 * deviation * deviation, _REACH * deviation
    first = last = 0
    density = []
    for x in grid:
        while first < len(masses) and masses[first][0] < x - reach:
            first += 1
        while last < len(masses) and masses[last][0] <= x + reach:
            last += 1
        density.append(factor * sum([mass * exp(-(x - at) * (x - at) / twice) for at, mass in masses[first:last]]))
    return tuple(density)


def _masses(walk: Walk) -> list[tuple[float, float]]:
    """Turn the density into masses at the grid points, by Simpson's rule."""
    last = len(walk.density) - 1
    width = (walk.high - walk.low) / last
    weights = (1 if i in (0, last) else 4 if i % 2 else 2 for i in range(last + 1))
    return [
        (walk.low + width * i, value * weight * width / 3)
        for i, (value, weight) in enumerate(zip(walk.density, weights, strict=True))
    ]


def _refined(walk: Walk, deviation: float) -> Walk:
    """Return the walk on a grid fine enough for a step of this deviation: it may be far smaller than the last one."""
    last = len(walk.density) - 1
    width = (walk.high - walk.low) / last
    finer = ceil(_FINENESS * width / (2 * deviation))
    if finer == 1:
        return walk
    values = [_between(walk.density, i / finer) for i in range(last * finer + 1)]
    return Walk(walk.fraction, walk.low, walk.high, tuple(values))


def _between(values: tuple[float, ...], at: float) -> float:
    """Interpolate by the cubic through the four nearest of evenly spaced values."""
    start = min(max(int(at) - 1, 0), len(values) - 4)
    x = at - start
    a, b, c, d = values[start : start + 4]
    return (
        -a * (x - 1) * (x - 2) * (x - 3) / 6
        + b * x * (x - 2) * (x - 3) / 2
        - c * x * (x - 1) * (x - 3) / 2
        + d * x * (x - 1) * (x - 2) / 6
    )


def _even(count: float) -> int:
    """Round up to an even number of intervals, at least 16."""
    return max(16, 2 * ceil(count / 2))
