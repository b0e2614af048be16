"""Ratios of sums and pre-period adjusted means, from sums alone; each gives a ``Mean`` that every test takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from quadra_matrix.stats.arms import Mean, PairSums, mean

_TOO_FEW = "an arm needs at least 2 units"


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Both arms' means, corrected for what the units did before the experiment (CUPED)."""

    control: Mean
    treatment: Mean
    slope: float | None = None
    """How much of a unit's pre-period value is expected again; None when there was nothing to adjust by."""
    reason: str | None = None
    """Why the means are not adjusted."""


def ratio_of(pairs: PairSums) -> Mean:
    """Return sum(y) / sum(x), with its variance by the delta method (Deng, Knoblich & Lu, KDD 2018).

    For metrics whose unit is not the randomised one: clicks over views, with users as units.
    """
    if pairs.n < 2:
        return Mean(pairs.n, reason=_TOO_FEW)
    per_unit = pairs.x / pairs.n
    if not per_unit:
        return Mean(pairs.n, reason="the denominator is 0")
    ratio = pairs.y / pairs.x
    # The variance of y - ratio * x: its mean is 0, so its squares alone are needed.
    squares = pairs.yy - 2 * ratio * pairs.xy + ratio * ratio * pairs.xx
    return mean(pairs.n, ratio, squares / (pairs.n - 1) / per_unit / per_unit)


def cuped(control: PairSums, treatment: PairSums) -> Adjusted:
    """Adjust y by the pre-period value x (Deng, Xu, Kohavi & Walker, WSDM 2013); the slope is pooled over the arms.

    Correlation c between the two removes c * c of the variance. x must be from before the first exposure.
    """
    if control.n < 2 or treatment.n < 2:
        return Adjusted(Mean(control.n, reason=_TOO_FEW), Mean(treatment.n, reason=_TOO_FEW), reason=_TOO_FEW)
    spread = _within(control.n, control.x, control.x, control.xx)
    spread += _within(treatment.n, treatment.x, treatment.x, treatment.xx)
    together = _within(control.n, control.x, control.y, control.xy)
    together += _within(treatment.n, treatment.x, treatment.y, treatment.xy)
    slope = together / spread if spread > 0 else float("nan")
    if not isfinite(slope):
        return Adjusted(_moved(control, 0.0, 0.0), _moved(treatment, 0.0, 0.0), reason="nothing to adjust by")
    centre = (control.x + treatment.x) / (control.n + treatment.n)
    return Adjusted(_moved(control, slope, centre), _moved(treatment, slope, centre), slope)


def _moved(arm: PairSums, slope: float, centre: float) -> Mean:
    """Return the mean of y - slope * (x - centre), without touching y when the slope is 0."""
    if not slope:
        return mean(arm.n, arm.y / arm.n, _within(arm.n, arm.y, arm.y, arm.yy) / (arm.n - 1))
    squares = _within(arm.n, arm.y, arm.y, arm.yy)
    squares += slope * slope * _within(arm.n, arm.x, arm.x, arm.xx) - 2 * slope * _within(arm.n, arm.x, arm.y, arm.xy)
    return mean(arm.n, arm.y / arm.n - slope * (arm.x / arm.n - centre), squares / (arm.n - 1))


def _within(n: int, a: float, b: float, ab: float) -> float:
    """Return the sum of products around the means."""
    return ab - a * (b / n)
