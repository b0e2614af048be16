"""Asymptotic confidence sequence of a difference: means, ratios, adjusted means, and rates where a plan is missing.

Mixture of normals over the effect (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, arXiv:2103.06476, eq. 9), with three
changes that keep its promise at low rates and uneven splits: the variance is pooled under the null, the sharpness is
tuned to the plan, and the absolute difference is tested. Nothing is declared before the burn-in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, log1p, pi, sqrt

from quadra_matrix.stats.arms import Alternative, Interval
from quadra_matrix.stats.evidence import NO_EVIDENCE, Evidence
from quadra_matrix.stats.search import edge
from quadra_matrix.stats.sequential.difference import Difference
from quadra_matrix.stats.sequential.tuning import USUAL_PLAN, sharpness
from quadra_matrix.stats.special import normal_tail

FEWEST_EVENTS = 25
"""Conversions of both arms before a rate is judged."""
_FARTHEST = 1e150
"""The square of a z must stay finite."""
BURN_IN = 1 / 20
"""Share of the plan before a mean is judged."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The test and the interval after the latest look. Make one with the first four fields alone."""

    planned: int = USUAL_PLAN
    """Users of both arms at which the interval is narrowest."""
    alpha: float = 0.05
    margin: float = 0.0
    """The difference under the null, in the metric's unit."""
    alternative: Alternative = Alternative.TWO_SIDED
    evidence: Evidence = NO_EVIDENCE
    interval: Interval | None = None
    """Of the difference; all looks' intervals hold together with chance 1 - alpha."""
    reason: str | None = None
    """Why there is no interval."""

    def __post_init__(self) -> None:
        sharpness(self.planned, self.alpha)


def look(state: Confidence, difference: Difference) -> Confidence:
    """Take a look at everything seen so far."""
    z = difference.z(state.margin)
    if z is None or difference.value is None or difference.error is None:
        return replace(state, interval=None, reason=difference.reason or "the difference is too large to compute with")
    reason = _too_early(state, difference)
    if reason:
        return replace(state, interval=None, reason=reason)
    information = difference.users * sharpness(state.planned, state.alpha) / state.planned
    reach = _reach(information, state.alpha, state.alternative) * difference.error
    low, high = difference.value - reach, difference.value + reach
    sided = {
        Alternative.TWO_SIDED: Interval(low, high),
        Alternative.GREATER: Interval(low, None),
        Alternative.LESS: Interval(None, high),
    }
    return replace(
        state,
        evidence=state.evidence.at(_log_e(z, information, state.alternative)),
        interval=sided[state.alternative],
        reason=None,
    )


def _too_early(state: Confidence, difference: Difference) -> str | None:
    """Return why the burn-in is not over, or None."""
    if difference.events is not None:
        early = difference.events < FEWEST_EVENTS
        return f"{difference.events} of the first {FEWEST_EVENTS} conversions" if early else None
    needed = state.planned * BURN_IN
    return f"{difference.users} of the first {needed:.0f} users" if difference.users < needed else None


def _log_e(z: float, information: float, alternative: Alternative) -> float:
    """Return the log e-value of a difference ``z`` errors from the null."""
    u = min(max(z, -_FARTHEST), _FARTHEST) * sqrt(information / (1 + information))
    start = -0.5 * log1p(information)
    if alternative is Alternative.TWO_SIDED:
        return start + u * u / 2
    towards = u if alternative is Alternative.GREATER else -u
    if towards < -30:  # the tail below is about to leave the floating point; its leading term is exact enough
        return start - log(-towards * sqrt(pi / 2))
    return start + u * u / 2 + log(2 * normal_tail(-towards))


def _reach(information: float, alpha: float, alternative: Alternative) -> float:
    """Return how many errors the interval reaches to a side that it limits."""
    both = sqrt((1 + information) / information * (log1p(information) - 2 * log(alpha)))
    if alternative is Alternative.TWO_SIDED:
        return both
    return edge(lambda z: _log_e(z, information, Alternative.GREATER) >= -log(alpha), both, 0.0)
