"""What each step can find before it begins: how likely a bad candidate is caught, how long a good one takes; pure.

The judge's own arithmetic is played through with random counts, so the answer is what the judge will do, not a formula
beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from random import Random
from statistics import median

from quadra_matrix.delivery.judge import GUARD_SHARE
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.stats.arms import NONE_YET, Counts
from quadra_matrix.stats.risk import RiskEvidence, bounds, less_than, log_grid, update, worse_than

RATIOS = (2.0, 5.0, 10.0)
"""Candidates that are tried: so many times stable's error rate."""
RUNS = 100
"""Rollouts that are played for each; nineteen of twenty answers are then within ten points."""
LOOKS = 8
"""Looks in which a step is played, and again twice as many in the patience after it: fewer than the judge takes."""


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What a step can find at a request rate and a base error rate."""

    share: float
    seconds: float
    caught: dict[float, float]
    """Times stable's error rate -> chance that such a candidate went back by the end of this step."""
    decided_after: float | None
    """Median seconds until a candidate that is no worse is good enough; None when not within the plan's patience."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is known of stable."""

    rate: float
    """Requests a second."""
    error_rate: float


def forecast(plan: Plan, traffic: Traffic, chance: Random) -> list[StepForecast]:
    """Return what every step can find, cumulatively from the first."""
    healthy = [_play(plan, traffic, 1.0, chance) for _ in range(RUNS // 3)]
    bad = {ratio: [_play(plan, traffic, ratio, chance) for _ in range(RUNS)] for ratio in RATIOS}
    found = []
    for place, step in enumerate(plan.steps):
        times = [run.decided[place] for run in healthy]
        middle = median(times)
        caught = {ratio: sum(run.caught_at <= place for run in runs) / RUNS for ratio, runs in bad.items()}
        found.append(StepForecast(plan.share_at(place), step.seconds, caught, middle if middle < 1e9 else None))
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    caught_at: int
    """Step at which it went back; the number of steps when it did not."""
    decided: list[float]
    """Seconds of each step until it was good enough; beyond 1e9 for never."""


@dataclass(slots=True)
class _Seen:
    """What one played rollout has seen so far."""

    worse: RiskEvidence
    better: RiskEvidence
    stable: Counts = NONE_YET
    candidate: Counts = NONE_YET


def _play(plan: Plan, traffic: Traffic, ratio: float, chance: Random) -> _Run:
    """Play one rollout of a candidate with ``ratio`` times stable's error rate."""
    limits, level = plan.limits, plan.limits.alpha * (2 / 3 if plan.limits.latency else 1) * (1 - GUARD_SHARE)
    enough = max(limits.enough_ratio, 1.5 * limits.relative)
    better = less_than(enough, ratios=log_grid(0.25 * enough, 0.75 * enough, 9))
    seen, decided = _Seen(worse_than(limits.relative), better), [2e9] * len(plan.steps)
    for place, step in enumerate(plan.steps):
        watched = 0.0
        while watched < step.seconds or (decided[place] > 1e9 and watched < plan.patience):
            whole = step.seconds if watched < step.seconds else plan.patience / 2
            pace = max(plan.tick, whole / LOOKS)
            watched += pace
            _tick(seen, pace * traffic.rate, plan.share_at(place) / 100, (traffic.error_rate, ratio), chance)
            if seen.worse.evidence.rejects(level):
                return _Run(place, decided)
            if decided[place] > 1e9 and _is_enough(seen, limits.enough_points, limits.alpha):
                decided[place] = watched
        if decided[place] > 1e9:
            break  # held: it gets no further traffic in which it could be found
    return _Run(len(plan.steps), decided)


def _tick(seen: _Seen, requests: float, share: float, risk: tuple[float, float], chance: Random) -> None:
    """Let a tick's requests happen."""
    base, ratio = risk
    candidate, stable = poisson(requests * share, chance), poisson(requests * (1 - share), chance)
    bad_too = min(candidate, poisson(candidate * min(1.0, base * ratio), chance))
    bad = min(stable, poisson(stable * base, chance))
    tick, tick_too = Counts(stable, bad), Counts(candidate, bad_too)
    seen.worse, seen.better = update(seen.worse, tick, tick_too), update(seen.better, tick, tick_too)
    seen.stable, seen.candidate = seen.stable + tick, seen.candidate + tick_too


def _is_enough(seen: _Seen, points: float, level: float) -> bool:
    """Tell whether the judge would let the candidate go on."""
    if seen.better.evidence.e_value >= 1 / level:
        return True
    rate = seen.candidate.rate or 0.0
    if rate - (seen.stable.rate or 0.0) > points or seen.candidate.total < log(1 / level) / (points + rate):
        return False  # cheap to see that the bounds are further apart
    high, low = bounds(seen.candidate, alpha=level / 2).high, bounds(seen.stable, alpha=level / 2).low
    return (1.0 if high is None else high) - (low or 0.0) <= points


def poisson(mean: float, chance: Random) -> int:
    """Return a Poisson number: by counting below 30, else by the normal approximation."""
    if mean > 30:
        return max(0, round(chance.gauss(mean, mean**0.5)))
    left, count = chance.random(), 0
    bar = exp(-mean)
    while left > bar:
        left *= chance.random()
        count += 1
    return count
