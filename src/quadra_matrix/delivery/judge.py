"""Is the candidate worse than stable? Decided at every look from who made each bad event; pure.

For every metric two always-valid tests run side by side: "worse by more than the margin" and "surely below the ratio
that would matter". A shared outage hits both versions and cancels; clumps of errors are discounted by how much stable's
own errors clump. The level is split over the metrics, errors twice the others, and a tenth pays for the absolute guard.

The first test is a mixture over the time at which the candidate may have become worse: mostly at the beginning, and a
little at every tick since. So a fault that comes late need not first outweigh the good time before it. A mixture of
e-processes is an e-process, so the level holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, log

from quadra_matrix.delivery.counters import Counters, grown_bound, slow_bound
from quadra_matrix.delivery.model import Finding, Memory, MetricVerdict, Tally, Verdict
from quadra_matrix.delivery.plan import Limits, Plan
from quadra_matrix.stats.arms import NONE_YET, Counts
from quadra_matrix.stats.risk import RiskEvidence, bounds, dispersion_of, less_than, log_grid, update, worse_than

HISTORY = 360
"""Stable's ticks that are remembered: with ticks of 5 s the last half hour."""
GUARD_SHARE = 0.1
"""Part of a metric's level that pays for the absolute guard."""
FROM_THE_START = 0.8
"""Weight of "worse from the beginning"; the rest is for later."""
NOTHING_YET = -1e9
"""Logarithm of no weight at all; JSON has no infinity."""
LATE_TICKS = 60.0
"""Half of the weight for later lies in so many ticks."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What both versions counted between two looks."""

    stable: Counters
    candidate: Counters


def look(memory: Memory, plan: Plan, tick: Tick) -> Memory:
    """Return the memory after a tick. Only what was known before the tick decides how it is weighed."""
    total = memory.total + tick.stable
    known = {tally.metric: tally for tally in memory.tallies}
    tallies = []
    for metric, margin in _margins(plan):
        bound = slow_bound(memory.total, plan.limits.latency_quantile) if metric == "latency" else None
        if metric == "latency" and not (plan.limits.latency and total.slower):
            continue
        tally = known.get(metric) or _fresh(metric, margin, plan.limits)
        arms = _arms(metric, tick, bound, plan.limits)
        tallies.append(_add(tally, *arms, bound) if arms else tally)
    return Memory(tuple(tallies), total)


def knowing(plan: Plan, history: tuple[Counts, ...]) -> Memory:
    """Return the memory of a rollout that begins, with what was seen of stable's errors before it."""
    return Memory((replace(_fresh("errors", plan.limits.relative, plan.limits), history=history[-HISTORY:]),))


def new_step(memory: Memory) -> Memory:
    """Return the memory after the share changed: what is compared without matching ticks starts again."""
    clean = (replace(tally, step_stable=NONE_YET, step_candidate=NONE_YET) for tally in memory.tallies)
    return replace(memory, tallies=tuple(clean))


def verdict(memory: Memory, plan: Plan) -> Verdict:
    """Return what the evidence so far says about the candidate."""
    shares = {tally.metric: 2.0 if tally.metric == "errors" else 1.0 for tally in memory.tallies}
    whole = plan.limits.alpha / sum(shares.values()) if shares else 0.0
    found = tuple(_judge(tally, plan, whole * shares[tally.metric]) for tally in memory.tallies)
    findings = {one.finding for one in found}
    if Finding.WORSE in findings:
        return Verdict(Finding.WORSE, found)
    return Verdict(Finding.NOT_WORSE if findings == {Finding.NOT_WORSE} else Finding.UNDECIDED, found)


def _margins(plan: Plan) -> Iterator[tuple[str, float]]:
    """Yield every metric that the plan judges and the ratio that the candidate may reach."""
    yield "errors", plan.limits.relative
    yield "latency", 1.0  # its margin is in the bounds: see _arms
    yield from ((metric.name, metric.relative) for metric in plan.metrics)


def _fresh(metric: str, margin: float, limits: Limits) -> Tally:
    """Return the tally of a metric nothing is known about."""
    enough = max(limits.enough_ratio, 1.5 * margin)
    worse = worse_than(margin)
    late = replace(worse, log_ratios=(NOTHING_YET,) * len(worse.ratios))
    return Tally(metric, worse, late, less_than(enough, ratios=log_grid(0.25 * enough, 0.75 * enough, 9)))


def _arms(metric: str, tick: Tick, bound: float | None, limits: Limits) -> tuple[Counts, Counts] | None:
    """Return bad events out of requests of stable and candidate in a tick; None where the metric says nothing yet.

    A request of stable is slow above stable's quantile, one of the candidate above ``latency_growth`` times that. So
    "the candidate's quantile grew no more" is exactly "no larger share of its requests is slow".
    """
    stable, candidate = tick.stable, tick.candidate
    if metric == "errors":
        return _counts(stable.requests, stable.errors), _counts(candidate.requests, candidate.errors)
    if metric == "latency":
        grown = None if bound is None else grown_bound(stable.slower, bound, limits.latency_growth)
        if bound is None or grown is None:
            return None
        slow, slow_too = stable.slower.get(bound, 0), candidate.slower.get(grown, 0)
        return _counts(stable.timed, slow), _counts(candidate.timed, slow_too)
    bad, bad_too = stable.custom.get(metric, 0), candidate.custom.get(metric, 0)
    return _counts(stable.requests, bad), _counts(candidate.requests, bad_too)


def _counts(requests: int, bad: int) -> Counts:
    """Return the pair; counters read an instant apart may have seen a bad event before its request."""
    return Counts(max(requests, bad), bad)


def _add(tally: Tally, stable: Counts, candidate: Counts, bound: float | None) -> Tally:
    """Return the tally after one tick of a metric."""
    clumping = dispersion_of(tally.history)
    if not candidate.total:  # nothing to compare, but stable's own variation is learnt
        return replace(tally, history=_remember(tally.history, stable), bound=bound)
    worse = update(tally.worse, stable, candidate, dispersion=clumping)
    late = update(_one_more_start(tally.late, tally.ticks), stable, candidate, dispersion=clumping)
    return Tally(
        tally.metric,
        worse,
        late,
        update(tally.better, stable, candidate, dispersion=clumping),
        tally.ticks + 1,
        tally.against.at(_mixed(worse, late, tally.ticks + 1)),
        tally.stable + stable,
        tally.candidate + candidate,
        tally.step_stable + stable,
        tally.step_candidate + candidate,
        _remember(tally.history, stable),
        bound,
    )


def _one_more_start(late: RiskEvidence, ticks: int) -> RiskEvidence:
    """Return the evidence with the weight of "worse from this tick on" added to every ratio."""
    weight = _spent(ticks + 1) - _spent(ticks)
    return replace(late, log_ratios=tuple(log(exp(min(one, 700.0)) + weight) for one in late.log_ratios))


def _spent(ticks: int) -> float:
    """Return the weight of the late starts so far; it falls with the square of time and never runs out."""
    return (1.0 - FROM_THE_START) * ticks / (LATE_TICKS + ticks)


def _mixed(worse: RiskEvidence, late: RiskEvidence, ticks: int) -> float:
    """Return the logarithm of the mixture of all starts; those still to come stand at one."""
    to_come = 1.0 - FROM_THE_START - _spent(ticks)
    first = log(FROM_THE_START) + worse.evidence.log_e
    top = max(first, late.evidence.log_e)
    return top + log(exp(first - top) + exp(late.evidence.log_e - top) + to_come * exp(-max(top, -700.0)))


def _remember(history: tuple[Counts, ...], tick: Counts) -> tuple[Counts, ...]:
    return (*history, tick)[-HISTORY:]


def _judge(tally: Tally, plan: Plan, level: float) -> MetricVerdict:
    """Return the verdict of one metric at its share of the level."""
    # Every metric must be good enough, so none of them is let pass more easily for there being others: no split.
    pass_level = plan.limits.alpha
    stable, candidate = _limits(tally.stable, pass_level / 2), _limits(tally.candidate, pass_level / 2)
    finding, because = _finding(tally, plan, level, candidate[1] - stable[0])
    return MetricVerdict(
        tally.metric,
        finding,
        f"{tally.metric}: {because}",
        tally.stable,
        tally.candidate,
        stable,
        candidate,
        tally.against.e_value,
        tally.better.evidence.e_value,
        1.0 / _comparison_level(level),
        1.0 / pass_level,
        dispersion_of(tally.history),
    )


def _finding(tally: Tally, plan: Plan, level: float, apart: float) -> tuple[Finding, str]:
    """Return the finding and the numbers behind it; ``apart`` is the largest difference of the rates still possible."""
    limits, compared = plan.limits, _comparison_level(level)
    mine, theirs = tally.candidate.rate or 0.0, tally.stable.rate or 0.0
    rates = f"candidate {mine:.2%} of {tally.candidate.total}, stable {theirs:.2%} of {tally.stable.total}"
    if not tally.candidate.total:
        return Finding.UNDECIDED, "the candidate got no requests"
    if tally.metric == "errors" and _breaks_guard(tally, limits, level * GUARD_SHARE / len(plan.steps)):
        return Finding.WORSE, f"surely above the guard of {limits.error_rate:.2%}; {rates}"
    if tally.against.rejects(compared) and mine - theirs >= _points(tally.metric, plan):
        return Finding.WORSE, f"evidence {tally.against.e_value:.3g} of {1 / compared:.3g} needed; {rates}"
    if apart <= limits.enough_points:
        return Finding.NOT_WORSE, f"at most {apart:.2%} apart; {rates}"
    if tally.better.evidence.e_value >= 1 / limits.alpha:
        return Finding.NOT_WORSE, f"surely below {tally.better.margin:g} times stable's rate; {rates}"
    return Finding.UNDECIDED, f"not enough requests to tell; {rates}"


def _breaks_guard(tally: Tally, limits: Limits, level: float) -> bool:
    """Tell whether the candidate surely fails too much in this step, and stable surely does not or got no requests."""
    if tally.step_candidate.events < limits.least_errors:
        return False
    if _limits(tally.step_candidate, level)[0] <= limits.error_rate:
        return False
    return not tally.step_stable.total or _limits(tally.step_stable, level)[1] < limits.error_rate


def _comparison_level(level: float) -> float:
    """Return what the guard leaves of a metric's level."""
    return level * (1.0 - GUARD_SHARE)


def _limits(counts: Counts, level: float) -> tuple[float, float]:
    """Return the interval of a rate that holds at every look."""
    interval = bounds(counts, alpha=level)
    return interval.low or 0.0, 1.0 if interval.high is None else interval.high


def _points(metric: str, plan: Plan) -> float:
    """Return the difference of the rates that does not matter."""
    if metric == "errors":
        return plan.limits.points
    return next((own.points for own in plan.metrics if own.name == metric), 0.0)
