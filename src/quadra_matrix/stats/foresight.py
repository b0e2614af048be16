"""Before a rollout: how bad a version ``risk`` would find, given the traffic of a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, exp, lgamma, log, sqrt

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.risk import RiskEvidence, update
from quadra_matrix.stats.search import edge
from quadra_matrix.stats.special import chi_square_tail, normal_tail

_REACH = 8.0
"""Standard deviations of a count beyond which it does not happen."""
_POINTS = 200
"""Counts of treatment at which the sum is taken, when there are more of them."""
_HIGHEST_RATIO = 1000.0


def chance_to_find(
    test: RiskEvidence,
    ratio: float,
    baseline: float,
    *,
    control: int,
    treatment: int,
    alpha: float = 0.01,
    dispersion: float = 1.0,
) -> float:
    """Return the chance that ``test`` refutes its null by the end of a step.

    ``control`` and ``treatment`` are the requests of the whole step, ``baseline`` is control's risk and ``ratio`` what
    treatment multiplies it by. Events are taken as Poisson, and only the end is looked at: a few points too low.
    """
    require(0 < baseline < 1, "baseline", baseline, "between 0 and 1")
    require(ratio > 0, "ratio", ratio, "above 0")
    require(0 < alpha < 1, "alpha", alpha, "between 0 and 1")
    if control < 1 or treatment < 1:
        return 0.0
    of_control, of_treatment = baseline * control, min(1.0, ratio * baseline) * treatment
    # Rejecting is monotone in both counts; which way depends on the side of the margin that is asked about.
    worse = test.ratios[0] > test.margin

    def on_the_first_side(events_c: int, events_t: int) -> bool:
        seen = Counts(control, min(events_c, control)), Counts(treatment, min(events_t, treatment))
        return (update(test, *seen, dispersion=dispersion).evidence.log_e >= -log(alpha)) == worse

    low, high = _likely(of_treatment)
    least, most = _likely(of_control)
    stride = max(1, (high - low) // _POINTS)
    total, last = 0.0, least - 1
    for events_t in range(low, high + 1, stride):
        last = _last(partial(on_the_first_side, events_t=events_t), last, most)
        below = _at_most(last, of_control)
        total += stride * _poisson(events_t, of_treatment) * (below if worse else 1 - below)
    return min(1.0, total)


def detectable_ratio(
    test: RiskEvidence,
    baseline: float,
    *,
    control: int,
    treatment: int,
    alpha: float = 0.01,
    power: float = 0.8,
    dispersion: float = 1.0,
) -> float | None:
    """Return the smallest risk ratio that a ``worse_than`` test finds with chance ``power`` in a step of this traffic.

    None if not even a version whose every request fails would be found: the traffic is too little.
    """
    require(test.ratios[0] > test.margin, "test", test, "one made by worse_than")

    def found(log_ratio: float) -> bool:
        chance = chance_to_find(
            test, exp(log_ratio), baseline, control=control, treatment=treatment, alpha=alpha, dispersion=dispersion
        )
        return chance >= power

    highest = log(min(_HIGHEST_RATIO, 1 / baseline))
    if not found(highest):
        return None
    return exp(edge(found, highest, min(0.0, highest), tolerance=1e-3))


def _likely(mean: float) -> tuple[int, int]:
    """Return the counts between which a Poisson count lies."""
    reach = _REACH * sqrt(mean) + _REACH
    return max(0, int(mean - reach)), ceil(mean + reach)


def _last(holds: Callable[[int], bool], start: int, end: int) -> int:
    """Return the last count that holds, where all that hold come first; ``start`` if none after it does."""
    step = 1
    while step:
        if start + step <= end and holds(start + step):
            start, step = start + step, 2 * step
        else:
            step //= 2
    return start


def _poisson(count: int, mean: float) -> float:
    return exp(count * log(mean) - mean - lgamma(count + 1))


def _at_most(count: int, mean: float) -> float:
    """Return the chance that a Poisson count is at most ``count``; above 50 by Wilson & Hilferty's cube root."""
    if count < 0:
        return 0.0
    if count <= 50:
        return chi_square_tail(2 * mean, 2 * count + 2)
    ninth = 1 / (9 * (count + 1))
    return normal_tail(((mean / (count + 1)) ** (1 / 3) - 1 + ninth) / sqrt(ninth))
