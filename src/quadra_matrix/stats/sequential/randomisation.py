"""Exact randomisation test of "the arm does not change the outcome", for yes-or-no outcomes, at any look and any split.

Under the null the arm of a user is independent of the outcome, whatever the rate does over the day. What the users so
far taught about the two rates is bet against that on the next ones (Turner, Ly & Grunwald, JSPI 230, 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import NONE_YET, Counts
from quadra_matrix.stats.evidence import NO_EVIDENCE, Evidence
from quadra_matrix.stats.sequential.tuning import USUAL_PLAN, sharpness

_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Randomisation:
    """The test after its latest look. Make one with the first three fields alone.

    A user enters once, when the outcome is final: at the conversion or when the time to convert is over. A user who
    enters as "no" and converts later would bend the test.
    """

    share: float = 0.5
    """The designed share of treatment among users of the two arms. A new split is a new share from then on."""
    planned: int = USUAL_PLAN
    """Users of both arms at which the test is sharpest."""
    alpha: float = 0.05
    """Tunes the sharpness only; the evidence may be read at any level."""
    control: Counts = NONE_YET
    treatment: Counts = NONE_YET
    evidence: Evidence = NO_EVIDENCE

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share", self.share, "between 0 and 1")
        sharpness(self.planned, self.alpha)


def update(state: Randomisation, control: Counts, treatment: Counts) -> Randomisation:
    """Add the users whose outcome became final since the last look. The first look only teaches."""
    total = state.evidence.log_e
    if state.control.total or state.treatment.total:
        total += _gain(state, control, treatment)
    return Randomisation(
        state.share,
        state.planned,
        state.alpha,
        state.control + control,
        state.treatment + treatment,
        state.evidence.at(total),
    )


def _gain(state: Randomisation, control: Counts, treatment: Counts) -> float:
    """Return the log of what a bet placed before the look made of it."""
    share = state.share
    rate_c, rate_t = _learnt(
        state.control, state.treatment, share, state.planned / sharpness(state.planned, state.alpha)
    )
    null = share * rate_t + (1 - share) * rate_c
    gain = 0.0
    for seen, rate in ((control, rate_c), (treatment, rate_t)):
        gain += seen.events * log(rate / null) + (seen.total - seen.events) * log((1 - rate) / (1 - null))
    return gain


def _learnt(control: Counts, treatment: Counts, share: float, weight: float) -> tuple[float, float]:
    """Return the rates to bet on: each arm's own, drawn towards the common rate by ``weight`` users."""
    pool = (control.events + treatment.events + 0.5) / (control.total + treatment.total + 1)
    of_control, of_treatment = (1 - share) * weight, share * weight
    return (
        _possible((control.events + of_control * pool) / (control.total + of_control)),
        _possible((treatment.events + of_treatment * pool) / (treatment.total + of_treatment)),
    )


def _possible(rate: float) -> float:
    """Keep a rate off 0 and 1, where rounding may put it: no outcome is impossible."""
    return min(max(rate, _LEAST), 1 - _LEAST)
