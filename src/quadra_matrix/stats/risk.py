"""Is the new version worse? The evidence from who caused each bad event, true at any number of looks.

If treatment has r times control's risk, a bad event is treatment's with chance r * n_t / (r * n_t + n_c), whatever the
risk itself. A shared outage therefore cancels, and under "at most ``margin`` times the risk" the product of likelihood
ratios is a supermartingale: it reaches 1/alpha with chance at most alpha, ever (Ville).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log1p

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Counts, Interval
from quadra_matrix.stats.evidence import NO_EVIDENCE, Evidence, log_mean_exp
from quadra_matrix.stats.search import edge
from quadra_matrix.stats.special import log_beta

FEWEST_TICKS = 6
"""Dispersion is not estimated from a shorter history."""
UNKNOWN_DISPERSION = 2.0
"""What is assumed instead."""


def log_grid(low: float, high: float, points: int = 16) -> tuple[float, ...]:
    """Return ``points`` numbers from ``low`` to ``high``, evenly spaced on a logarithmic scale."""
    require(0 < low < high, "low", low, f"above 0 and below high ({high})")
    require(points >= 2, "points", points, "at least 2")
    step = log(high / low) / (points - 1)
    return tuple(low * exp(step * i) for i in range(points))


@dataclass(frozen=True, slots=True)
class RiskEvidence:
    """How much the events so far speak against "treatment's risk is ``margin`` times control's, or better".

    Make one with ``worse_than`` or ``less_than``, then ``update`` it. Frozen: keep the value you were given last.
    """

    margin: float
    """The risk ratio under the null."""
    ratios: tuple[float, ...]
    """The risk ratios that the null is weighed against, all on the same side of ``margin``."""
    log_ratios: tuple[float, ...]
    """The log likelihood ratio of each, so far."""
    evidence: Evidence = NO_EVIDENCE

    def __post_init__(self) -> None:
        require(self.margin > 0, "margin", self.margin, "above 0")
        above = all(ratio > self.margin for ratio in self.ratios)
        below = all(0 < ratio < self.margin for ratio in self.ratios)
        require(bool(self.ratios) and (above or below), "ratios", self.ratios, f"all above, or all below {self.margin}")
        require(len(self.log_ratios) == len(self.ratios), "log_ratios", self.log_ratios, "one for each ratio")


def worse_than(margin: float = 1.0, *, ratios: Sequence[float] = log_grid(1.5, 50.0)) -> RiskEvidence:
    """Start to ask whether treatment has more than ``margin`` times control's risk; ``ratios`` multiply the margin."""
    return RiskEvidence(margin, tuple(margin * ratio for ratio in ratios), (0.0,) * len(ratios))


def less_than(margin: float = 2.0, *, ratios: Sequence[float] = log_grid(0.5, 1.5, 9)) -> RiskEvidence:
    """Start to ask whether treatment has less than ``margin`` times control's risk; ``ratios`` are risk ratios."""
    return RiskEvidence(margin, tuple(ratios), (0.0,) * len(ratios))


def update(state: RiskEvidence, control: Counts, treatment: Counts, *, dispersion: float = 1.0) -> RiskEvidence:
    """Add what happened since the last look: events out of requests, of each version, over the same time.

    ``dispersion`` (at least 1) must be known before the look: see ``dispersion_of``. A look at which one version had no
    requests says nothing.
    """
    require(dispersion >= 1, "dispersion", dispersion, "at least 1")
    if not (control.total and treatment.total):
        return state
    null_t, null_c = _log_shares(state.margin, control.total, treatment.total)
    logs = []
    for ratio, so_far in zip(state.ratios, state.log_ratios, strict=True):
        log_t, log_c = _log_shares(ratio, control.total, treatment.total)
        gain = treatment.events * (log_t - null_t) + control.events * (log_c - null_c)
        logs.append(so_far + gain / dispersion)
    return RiskEvidence(state.margin, state.ratios, tuple(logs), state.evidence.at(log_mean_exp(logs)))


def dispersion_of(history: Sequence[Counts], *, pessimistic: bool = False) -> float:
    """Return how much more than chance the events of one version vary from tick to tick; at least 1.

    Bursts make events come in clumps, and clumps look like evidence. Give stable's ticks from before the rollout.
    ``pessimistic`` doubles the excess over 1. A history under ``FEWEST_TICKS`` gives ``UNKNOWN_DISPERSION``.
    """
    ticks = [tick for tick in history if tick.total]
    requests, events = sum(tick.total for tick in ticks), sum(tick.events for tick in ticks)
    if len(ticks) < FEWEST_TICKS or not events:
        return UNKNOWN_DISPERSION
    expected = [tick.total * (events / requests) for tick in ticks]
    excess = sum((tick.events - mu) * (tick.events - mu) / mu for tick, mu in zip(ticks, expected, strict=True))
    estimate = excess / len(ticks)
    return max(1.0, 1.0 + 2.0 * (estimate - 1.0) if pessimistic else estimate)


def bounds(counts: Counts, *, alpha: float = 0.05, prior: tuple[float, float] = (0.5, 50.0)) -> Interval:
    """Return the interval of a rate that holds at every look, from totals so far (beta-binomial mixture).

    ``prior`` are the weights a and b: a rate near a / (a + b) gives the narrowest interval; any is valid.
    """
    require(0 < alpha < 1, "alpha", alpha, "between 0 and 1")
    a, b = prior
    require(a > 0 and b > 0, "prior", prior, "two numbers above 0")
    hits, misses = counts.events, counts.total - counts.events
    allowed = log_beta(hits + a, misses + b) - log_beta(a, b) + log(alpha)

    def excluded(p: float) -> bool:
        return hits * log(p) + misses * log1p(-p) <= allowed

    best = hits / counts.total if counts.total else 0.5
    low = edge(excluded, 0.0, best) if hits else 0.0
    high = edge(excluded, 1.0, best) if misses else 1.0
    return Interval(low, high)


def _log_shares(ratio: float, control: int, treatment: int) -> tuple[float, float]:
    """Return the log chances that an event is treatment's and control's if treatment has ``ratio`` times the risk."""
    weight = ratio * treatment
    return log(weight / (weight + control)), log(control / (weight + control))
