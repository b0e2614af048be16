"""Exact test of two rates for small samples, where the normal approximation of the z-test is poor (Barnard 1947)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from math import exp, lgamma, log, log1p, pi, sin, sqrt

from quadra_matrix.stats.arms import Alternative, Comparison, Counts
from quadra_matrix.stats.fixed import z_test

MOST_USERS = 1000
"""In both arms; above, the z-test is as good."""
_GRID = 128
"""Common rates at which the p-value is first computed."""
_ROUNDING = 1e-9
"""Statistics this close are equal."""
_GOLDEN = (sqrt(5) - 1) / 2

Tails = list[tuple[int, int]]
"""For each count of control: treatment's counts up to the first, and from the second on, are as extreme."""


def barnard(
    control: Counts,
    treatment: Counts,
    *,
    alternative: Alternative = Alternative.TWO_SIDED,
    alpha: float = 0.05,
) -> Comparison:
    """Compare two rates exactly: the p-value is the largest over every common rate they may have.

    Statistic and interval are those of ``z_test``, and so is the p-value above ``MOST_USERS``. Costs up to 0.1 s.
    """
    found = z_test(control, treatment, alternative=alternative, alpha=alpha)
    if found.statistic is None or control.total + treatment.total > MOST_USERS:
        return found
    tails = _tails(control.total, treatment.total, found.statistic, alternative)
    coefficients = _log_binomials(control.total), _log_binomials(treatment.total)
    return replace(found, p_value=min(1.0, _highest(lambda rate: _chance(rate, tails, *coefficients))))


def _tails(control: int, treatment: int, statistic: float, alternative: Alternative) -> Tails:
    """Find the pairs of counts at least as far from the null: z rises with treatment's and falls with control's."""
    both = alternative is Alternative.TWO_SIDED
    low_at, high_at = (-abs(statistic), abs(statistic)) if both else (statistic, statistic)
    low, high = -1, treatment + 1 if alternative is Alternative.LESS else 0
    tails = []
    for events in range(control + 1):
        while high <= treatment and _z(events, control, high, treatment) < high_at - _ROUNDING:
            high += 1
        while (
            alternative is not Alternative.GREATER
            and low < treatment
            and _z(events, control, low + 1, treatment) <= low_at + _ROUNDING
        ):
            low += 1
        tails.append((low, high))
    return tails


def _z(control: int, of_control: int, treatment: int, of_treatment: int) -> float:
    """Return the pooled statistic; 0 where nobody or everybody had the event."""
    users = of_control + of_treatment
    pool = (control + treatment) / users
    spread = pool * (1 - pool) * (1 / of_control + 1 / of_treatment)
    return (treatment / of_treatment - control / of_control) / sqrt(spread) if spread else 0.0


def _chance(rate: float, tails: Tails, of_control: list[float], of_treatment: list[float]) -> float:
    """Return the chance of the tails if both arms have this rate."""
    below = [0.0, *accumulate(_binomial(rate, of_treatment))]
    arms = zip(_binomial(rate, of_control), tails, strict=True)
    return sum(chance * (below[low + 1] + max(0.0, below[-1] - below[high])) for chance, (low, high) in arms)


def _binomial(rate: float, log_coefficients: list[float]) -> list[float]:
    """Return the chance of every count."""
    yes, no, n = log(rate), log1p(-rate), len(log_coefficients) - 1
    return [exp(coefficient + k * yes + (n - k) * no) for k, coefficient in enumerate(log_coefficients)]


def _log_binomials(n: int) -> list[float]:
    return [lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in range(n + 1)]


def _highest(chance: Callable[[float], float]) -> float:
    """Return the maximum over all rates: the best of a grid that is dense at both ends, refined by golden section."""

    def at(angle: float) -> float:
        return chance(sin(angle) * sin(angle))

    step = pi / 2 / _GRID
    best = max(range(1, _GRID), key=lambda i: at(i * step))
    low, high = max(best - 1, 0.01) * step, min(best + 1, _GRID - 0.01) * step
    highest = at(best * step)
    for _ in range(20):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        of_left, of_right = at(left), at(right)
        highest = max(highest, of_left, of_right)
        low, high = (low, right) if of_left > of_right else (left, high)
    return highest
