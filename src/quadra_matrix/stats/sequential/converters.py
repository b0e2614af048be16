"""Exact beta-binomial test on the arms of those who converted, and the any-time interval of the relative rate.

A converter is treatment's with chance r * R / (r * R + 1 - r): r is the designed share, R the ratio of the rates. The
rate itself drops out, so it may drift (Lindon & Malek, NeurIPS 2022). Sharp for rare events; at 30 % use
``randomisation`` for the decision and this for the interval.
"""

from __future__ import annotations

from math import exp, log, log1p

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Interval
from quadra_matrix.stats.search import edge
from quadra_matrix.stats.sequential.tuning import USUAL_PLAN, sharpness
from quadra_matrix.stats.special import log_beta

USUAL_CONVERTERS = USUAL_PLAN // 20
"""Conversions of both arms at which a test without a plan is sharpest: 5 % of the usual plan."""
_WIDEST = 60.0
"""The interval's search ends exp(60) times from the ratio found."""


def log_e(
    control: int,
    treatment: int,
    *,
    share: float = 0.5,
    ratio: float = 1.0,
    planned: int = USUAL_CONVERTERS,
    alpha: float = 0.05,
) -> float:
    """Return the log e-value against "treatment's rate is ``ratio`` times control's", from converters so far.

    ``planned`` is how many converters of both arms the test is tuned to: planned users times the expected rate. Pass
    the result to ``Evidence.at`` to keep the peak between looks.
    """
    _check(control, treatment, share)
    require(ratio > 0, "ratio", ratio, "above 0")
    return _mixture(control, treatment, share, planned, alpha) - _likelihood(control, treatment, share, log(ratio))


def interval(
    control: int, treatment: int, *, share: float = 0.5, planned: int = USUAL_CONVERTERS, alpha: float = 0.05
) -> Interval:
    """Return every ratio of the rates that the converters so far do not refute: it holds at all looks together.

    Without a converter in treatment the lower limit is 0; without one in control there is no upper limit.
    """
    _check(control, treatment, share)
    mixture = _mixture(control, treatment, share, planned, alpha)

    def refuted(log_ratio: float) -> bool:
        return mixture - _likelihood(control, treatment, share, log_ratio) >= -log(alpha)

    found = max(treatment, 0.5) / max(control, 0.5)
    centre = log(found) - log(share) + log1p(-share)
    low = exp(edge(refuted, centre - _WIDEST, centre)) if treatment else 0.0
    high = exp(edge(refuted, centre + _WIDEST, centre)) if control else None
    return Interval(low, high)


def _mixture(control: int, treatment: int, share: float, planned: int, alpha: float) -> float:
    """Return the log chance of the arms of the converters, averaged over ratios around 1."""
    weight = planned / sharpness(planned, alpha)
    of_treatment, of_control = weight * share, weight * (1 - share)
    return log_beta(of_treatment + treatment, of_control + control) - log_beta(of_treatment, of_control)


def _likelihood(control: int, treatment: int, share: float, log_ratio: float) -> float:
    """Return the log chance of the arms of the converters if the rates have this ratio."""
    odds = log(share) - log1p(-share) + log_ratio
    return -treatment * _softplus(-odds) - control * _softplus(odds)


def _softplus(x: float) -> float:
    """Return log(1 + exp(x)) for x of any size."""
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _check(control: int, treatment: int, share: float) -> None:
    require(control >= 0, "control", control, "at least 0")
    require(treatment >= 0, "treatment", treatment, "at least 0")
    require(0 < share < 1, "share", share, "between 0 and 1")
