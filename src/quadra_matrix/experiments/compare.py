"""Two variants and one metric: the fixed-horizon numbers, and the always-valid ones over all looks. Pure.

Phases are strata: each has its own split, so the difference is taken within each and then averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import TypeVar

from quadra_matrix.experiments.definition import Kind, Metric
from quadra_matrix.experiments.tally import NOBODY, Arm, Arms, Tally
from quadra_matrix.stats import fixed
from quadra_matrix.stats.adjust import cuped, ratio_of
from quadra_matrix.stats.arms import NONE_YET, Alternative, Comparison, Counts, Interval, Mean, PairSums, Sums, mean_of
from quadra_matrix.stats.evidence import NO_EVIDENCE, Evidence
from quadra_matrix.stats.sequential import confidence, converters, groups, randomisation
from quadra_matrix.stats.sequential.confidence import Confidence
from quadra_matrix.stats.sequential.difference import Difference, of_means, of_rates
from quadra_matrix.stats.sequential.groups import GroupSequential
from quadra_matrix.stats.sequential.randomisation import Randomisation
from quadra_matrix.stats.sequential.tuning import USUAL_PLAN
from quadra_matrix.stats.special import normal_point, normal_tail

T = TypeVar("T")

MORE_THAN_USERS = "more conversions than users: give track_conversion the user_id"


@dataclass(frozen=True, slots=True)
class Pair:
    """Which two variants are compared on what, and how strictly."""

    control: str
    treatment: str
    metric: Metric
    shares: Mapping[int, float]
    """The treatment's designed share among the users of the two, by phase."""
    alpha: float
    planned: int | None
    """Users of both variants."""
    covariate: bool = False


@dataclass(frozen=True, slots=True)
class AlwaysValid:
    """Numbers that may be read at every look."""

    method: str
    evidence: Evidence = NO_EVIDENCE
    interval: Interval | None = None
    """Of the difference."""
    ratio: Interval | None = None
    """Of the treatment's rate over the control's."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What the sequential test of a pair says."""

    method: str
    difference: float | None = None
    """The difference at the look that decided; None while nothing is decided."""
    finished: bool = False
    """Whether the planned size is reached."""
    reason: str = ""


def difference(pair: Pair, phases: Mapping[int, Arms]) -> Difference:
    """Return the difference of a pair over all phases."""
    parts: list[tuple[float, Difference]] = []
    users = 0
    for arms in phases.values():
        control, treatment = arms.get(pair.control, NOBODY), arms.get(pair.treatment, NOBODY)
        users += control.users + treatment.users
        if control.users and treatment.users:
            weight = control.users * treatment.users / (control.users + treatment.users)
            parts.append((weight, _within(pair, control, treatment)))
    if len(parts) == 1:
        return replace(parts[0][1], users=users)
    return _averaged(parts, users)


def _averaged(parts: Iterable[tuple[float, Difference]], users: int) -> Difference:
    """Average the differences of several phases; each counts by how much it tells."""
    total = value = variance = 0.0
    events: int | None = 0
    for weight, part in parts:
        if part.value is None or part.error is None:
            continue
        total, value = total + weight, value + weight * part.value
        variance += weight * weight * part.error * part.error
        events = None if events is None or part.events is None else events + part.events
    if not total:
        return Difference(users, reason="an arm is empty or the metric does not vary")
    return Difference(users, value / total, sqrt(variance) / total, events)


def _within(pair: Pair, control: Arm, treatment: Arm) -> Difference:
    """Return the difference within one phase."""
    if pair.metric.kind is Kind.RATE:
        rates = _rates(control, treatment)
        if rates is None:
            return Difference(control.users + treatment.users, reason=MORE_THAN_USERS)
        return of_rates(*rates)
    return of_means(*_means(pair, control, treatment))


def _rates(control: Arm, treatment: Arm) -> tuple[Counts, Counts] | None:
    """Return both arms' counts; None where conversions without a unit outnumber the users."""
    if control.converters > control.users or treatment.converters > treatment.users:
        return None
    return Counts(control.users, control.converters), Counts(treatment.users, treatment.converters)


def _means(pair: Pair, control: Arm, treatment: Arm) -> tuple[Mean, Mean]:
    """Return both arms' means: of a ratio, adjusted by the covariate, or plain."""
    if pair.metric.kind is Kind.RATIO:
        over_d = [PairSums(arm.users, arm.d, arm.y, arm.dd, arm.yy, arm.yd) for arm in (control, treatment)]
        return ratio_of(over_d[0]), ratio_of(over_d[1])
    if pair.covariate:
        with_x = [PairSums(arm.users, arm.x, arm.y, arm.xx, arm.yy, arm.xy) for arm in (control, treatment)]
        adjusted = cuped(*with_x)
        return adjusted.control, adjusted.treatment
    return mean_of(Sums(control.users, control.y, control.yy)), mean_of(
        Sums(treatment.users, treatment.y, treatment.yy)
    )


def fixed_horizon(pair: Pair, phases: Mapping[int, Arms]) -> Comparison:
    """Compare as if this were the only look: the z-test for rates, Welch's for means."""
    full = [arms for arms in phases.values() if arms[pair.control].users and arms[pair.treatment].users]
    if len(full) == 1:
        control, treatment = full[0][pair.control], full[0][pair.treatment]
        if pair.metric.kind is not Kind.RATE:
            return fixed.welch(*_means(pair, control, treatment), alpha=pair.alpha)
        rates = _rates(control, treatment)
        return Comparison(reason=MORE_THAN_USERS) if rates is None else fixed.z_test(*rates, alpha=pair.alpha)
    found = difference(pair, phases)
    z = found.z()
    if z is None or found.value is None or found.error is None:
        return Comparison(found.value, reason=found.reason or "an arm is empty")
    reach = normal_point(pair.alpha / 2) * found.error
    interval = Interval(found.value - reach, found.value + reach)
    return Comparison(
        found.value, None, z, min(1.0, 2 * normal_tail(abs(z))), interval, "several phases: no single lift"
    )


def always_valid(pair: Pair, tally: Tally) -> AlwaysValid:
    """Return the numbers that may be read now and at every other moment."""
    sequence = _sequence(pair, tally, Confidence(pair.planned or USUAL_PLAN, pair.alpha))
    if pair.metric.kind is not Kind.RATE:
        return AlwaysValid(
            "asymptotic confidence sequence", sequence.evidence, sequence.interval, None, sequence.reason
        )
    anonymous = tally.anonymous > 0
    evidence = _converters(pair, tally) if anonymous else _randomisation(pair, tally)
    method = "beta-binomial on converters" if anonymous else "randomisation e-process"
    return AlwaysValid(method, evidence, sequence.interval, _ratio(pair, tally.latest()), sequence.reason)


def decide(pair: Pair, tally: Tally, found: AlwaysValid) -> Decided:
    """Return what the test that decides says: group-sequential with a planned size, else the always-valid one."""
    if pair.planned is not None:
        return _planned(pair, tally, pair.planned)
    if not found.evidence.rejects(pair.alpha):
        return Decided(found.method, reason=found.reason or "not enough evidence yet")
    now = difference(pair, tally.latest())
    reason = f"always-valid p = {found.evidence.p_value:.2g}, at most {pair.alpha:.2g}"
    return Decided(found.method, now.value, reason=reason)


def harm(pair: Pair, tally: Tally) -> Evidence:
    """Return the evidence that the treatment is worse than the control by more than the metric's margin."""
    down = pair.metric.higher_is_better
    margin = -pair.metric.margin if down else pair.metric.margin
    towards = Alternative.LESS if down else Alternative.GREATER
    state = Confidence(pair.planned or USUAL_PLAN, pair.alpha, margin, towards)
    return _sequence(pair, tally, state).evidence


def _sequence(pair: Pair, tally: Tally, state: Confidence) -> Confidence:
    """Take every look of a confidence sequence."""
    for _, phases in tally.seen():
        state = confidence.look(state, difference(pair, phases))
    return state


def _planned(pair: Pair, tally: Tally, planned: int) -> Decided:
    """Take every complete look of the group-sequential test, and the one that reaches the plan."""
    state, decided = GroupSequential(planned, pair.alpha), None
    for look, phases in tally.seen():
        if look >= tally.now_look and difference(pair, phases).users < planned:
            break
        now = difference(pair, phases)
        state = groups.look(state, now.users, now.z())
        if state.rejected and decided is None:
            decided = now.value
    method = "group-sequential, O'Brien-Fleming type"
    if state.rejected:
        reason = f"|z| passed its bound at {state.rejected_at} of {planned} planned users"
        return Decided(method, decided, state.finished, reason)
    if state.finished:
        return Decided(method, None, True, f"the planned {planned} users were reached without a difference")
    if not state.users:
        return Decided(method, reason="the first look is not complete yet")
    return Decided(method, reason=f"|z| = {abs(state.z or 0):.2f} of {state.bound:.2f} needed at {state.users} users")


def _randomisation(pair: Pair, tally: Tally) -> Evidence:
    """Take every look of the exact randomisation e-process.

    Its first look has no past to bet from. There, the converters' arms speak: also exact, and of other users than the
    ones that come later, so the e-values multiply.
    """
    state = Randomisation(0.5, pair.planned or USUAL_PLAN, pair.alpha)
    for place, (_, phases) in enumerate(tally.settled()):
        gain, control, treatment = 0.0, NONE_YET, NONE_YET
        for phase, counts in phases.items():
            of_control, of_treatment, share = counts[pair.control], counts[pair.treatment], pair.shares.get(phase, 0.0)
            if not 0 < share < 1:
                continue
            control, treatment = control + of_control, treatment + of_treatment
            if place:
                # Every phase bets from the same past, so that a look under way can be read at any moment.
                after = randomisation.update(replace(state, share=share), of_control, of_treatment)
                gain += after.evidence.log_e - state.evidence.log_e
            else:
                gain += converters.log_e(of_control.events, of_treatment.events, share=share, alpha=pair.alpha)
        state = replace(
            state,
            control=state.control + control,
            treatment=state.treatment + treatment,
            evidence=state.evidence.at(state.evidence.log_e + gain),
        )
    return state.evidence


def _converters(pair: Pair, tally: Tally) -> Evidence:
    """Take every look of the exact test on the converters' arms, which needs to know nothing of the others."""
    evidence = NO_EVIDENCE
    for _, phases in tally.seen():
        evidence = evidence.at(sum(_each_phase(pair, phases, _converters_log_e)))
    return evidence


def _converters_log_e(pair: Pair, control: Arm, treatment: Arm, share: float) -> float:
    """Return the log e-value of the converters in one phase."""
    return converters.log_e(control.converters, treatment.converters, share=share, alpha=pair.alpha)


def _ratio(pair: Pair, phases: Mapping[int, Arms]) -> Interval | None:
    """Return the any-time interval of the ratio of the rates; None over several phases."""
    if len(phases) != 1:
        return None
    found = _each_phase(
        pair,
        phases,
        lambda pair, control, treatment, share: converters.interval(
            control.converters, treatment.converters, share=share, alpha=pair.alpha
        ),
    )
    return found[0] if found else None


def _each_phase(pair: Pair, phases: Mapping[int, Arms], ask: Callable[[Pair, Arm, Arm, float], T]) -> list[T]:
    """Ask about each phase in which both variants get users."""
    return [
        ask(pair, arms[pair.control], arms[pair.treatment], pair.shares.get(phase, 0.0))
        for phase, arms in phases.items()
        if 0 < pair.shares.get(phase, 0.0) < 1
    ]
