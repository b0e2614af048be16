"""From counts to results: comparisons, corrections, the sample-ratio check and the decision. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, sqrt

from quadra_matrix.experiments.compare import (
    AlwaysValid,
    Decided,
    Pair,
    always_valid,
    decide,
    difference,
    fixed_horizon,
    harm,
)
from quadra_matrix.experiments.definition import CONVERSION, VALUE, Definition, Kind, Metric, Phase, Role
from quadra_matrix.experiments.results import (
    Decision,
    MetricResult,
    MetricTotals,
    Point,
    Progress,
    Results,
    SampleRatioResult,
    VariantResult,
    Verdict,
)
from quadra_matrix.experiments.tally import NOBODY, Arm, Tally
from quadra_matrix.stats import fixed, multiple, power, ratio
from quadra_matrix.stats.arms import Comparison, Counts, Sums, mean_of
from quadra_matrix.stats.ratio import SampleRatio
from quadra_matrix.stats.sequential import confidence
from quadra_matrix.stats.sequential.confidence import Confidence
from quadra_matrix.stats.sequential.tuning import USUAL_PLAN

RATIO_ALPHA = 0.01
"""The chance, over all looks, that a sound split is called unsound."""

Totals = Mapping[str, Mapping[str, MetricTotals]]
"""Metric -> variant -> every tracked value."""

Correction = Callable[[Sequence[float]], Sequence[float]]


def judge(definition: Definition, tallies: Mapping[str, Tally], totals: Totals, now: float) -> Results:
    """Return the results of an experiment from one tally for each of its metrics; ``conversion`` is always there."""
    base = tallies[CONVERSION]
    split_check = sample_ratio(definition, base)
    treatments = [variant.name for variant in definition.variants[1:]]
    found: list[MetricResult] = []
    verdicts: dict[str, Decided] = {}
    for metric in definition.metrics:
        of_metric = []
        for name in treatments:
            pair = pair_of(definition, metric, name)
            result, decided = _compare(pair, tallies[metric.name])
            of_metric.append(result)
            if metric.role is Role.PRIMARY:
                verdicts[name] = decided
        found += _corrected_for_arms(of_metric)
    found = _corrected_for_metrics(found)
    if not split_check.ok:
        found = [_withheld(metric, split_check.reason) for metric in found]
    primary = primary_of(definition)
    return Results(
        experiment=definition.name,
        status=str(definition.status),
        version=definition.version,
        started_at=definition.phases[0].started_at if definition.phases else None,
        analysed_at=now,
        alpha=definition.alpha,
        control=definition.variants[0].name,
        decision=_decision(primary, split_check, found, verdicts),
        variants=tuple(_variant(definition, base, totals, variant.name) for variant in definition.variants),
        metrics=tuple(found),
        sample_ratio=split_check,
        progress=_progress(definition, tallies),
        excluded=base.excluded(),
        history=tuple(_history(definition, tallies[primary.name])) if split_check.ok else (),
    )


def primary_of(definition: Definition) -> Metric:
    """Return the metric that decides."""
    return next(metric for metric in definition.metrics if metric.role is Role.PRIMARY)


def pair_of(definition: Definition, metric: Metric, treatment: str) -> Pair:
    """Return the comparison of a variant with the control; several variants, or guardrails, share alpha."""
    names = [variant.name for variant in definition.variants]
    place = names.index(treatment)
    shares: dict[int, float] = {}
    for phase in definition.phases:
        both = phase.weights[0] + phase.weights[place]
        shares[phase.number] = phase.weights[place] / both if both else 0.0
    weights = definition.phases[0].weights if definition.phases else definition.weights
    part = (weights[0] + weights[place]) / sum(weights)
    planned = definition.planned_users
    questions = len(names) - 1
    if metric.role is Role.GUARDRAIL:
        questions *= sum(each.role is Role.GUARDRAIL for each in definition.metrics)
    return Pair(
        control=names[0],
        treatment=treatment,
        metric=metric,
        shares=shares,
        alpha=definition.alpha / questions,
        planned=None if planned is None else max(2, round(planned * part)),
        covariate=definition.covariate is not None and metric.kind is Kind.MEAN,
    )


def sample_ratio(definition: Definition, tally: Tally) -> SampleRatioResult:
    """Compare the users of each variant with the weights, phase by phase."""
    worst, latest = 1.0, ratio.ChiSquare(reason="no users yet")
    for phase in definition.phases:
        state, latest = _phase_ratio(phase, tally)
        worst = min(worst, state.evidence.p_value if state else 1.0)
    phases = max(1, len(definition.phases))
    adjusted = min(1.0, worst * phases)
    ok = adjusted > RATIO_ALPHA
    reason = (
        "the users fell into the variants as designed"
        if ok
        else f"the users did not fall into the variants as designed (always-valid p = {adjusted:.2g}): look for "
        "assignment, logging or redirects that treat the variants differently"
    )
    return SampleRatioResult(ok, latest.p_value, adjusted, reason)


def _phase_ratio(phase: Phase, tally: Tally) -> tuple[SampleRatio | None, ratio.ChiSquare]:
    """Return the state of the sequential test of one phase, and the plain test."""
    used = [place for place, weight in enumerate(phase.weights) if weight]
    if len(used) < 2:
        return None, ratio.ChiSquare(reason="one variant gets all users")
    shares = tuple(phase.weights[place] / sum(phase.weights) for place in used)
    state, before = SampleRatio(shares), [0] * len(used)
    for _, phases in tally.seen():
        arms = phases.get(phase.number, {})
        users = [arms.get(tally.names[place], NOBODY).users for place in used]
        state = ratio.update(state, [now - then for now, then in zip(users, before, strict=True)])
        before = users
    return state, ratio.chi_square(before, shares)


def _compare(pair: Pair, tally: Tally) -> tuple[MetricResult, Decided]:
    """Return the numbers of a pair, and what its sequential test says."""
    plain, valid = fixed_horizon(pair, tally.latest()), always_valid(pair, tally)
    decided = decide(pair, tally, valid)
    harmed = pair.metric.role is Role.GUARDRAIL and harm(pair, tally).rejects(pair.alpha)
    return _metric_result(pair, valid, harmed, plain), decided


def _metric_result(pair: Pair, valid: AlwaysValid, harmed: bool, plain: Comparison) -> MetricResult:
    """Put the numbers of a pair together."""
    return MetricResult(
        variant=pair.treatment,
        metric=pair.metric.name,
        role=pair.metric.role,
        difference=plain.difference,
        lift=plain.lift,
        z_score=plain.statistic,
        p_value=plain.p_value,
        p_value_adjusted=plain.p_value,
        interval=plain.interval,
        method=valid.method,
        always_valid_p_value=valid.evidence.p_value,
        always_valid_interval=valid.interval,
        always_valid_ratio=valid.ratio,
        e_value=valid.evidence.e_value,
        log_e=valid.evidence.log_e,
        harmed=harmed,
        reason=plain.reason or valid.reason,
    )


def _corrected_for_arms(found: Sequence[MetricResult]) -> list[MetricResult]:
    """Correct one metric's p-values for several variants."""
    return _corrected(found, multiple.holm)


def _corrected_for_metrics(found: Sequence[MetricResult]) -> list[MetricResult]:
    """Correct the p-values of secondary metrics for each other."""
    others = [metric for metric in found if metric.role is not Role.SECONDARY]
    secondary = [metric for metric in found if metric.role is Role.SECONDARY]
    return others + _corrected(secondary, multiple.benjamini_hochberg)


def _corrected(found: Sequence[MetricResult], correct: Correction) -> list[MetricResult]:
    """Replace the adjusted p-values by corrected ones; an undefined one stays so and is not counted."""
    known = [metric.p_value_adjusted for metric in found if metric.p_value_adjusted is not None]
    corrected = iter(correct(known))
    return [
        metric if metric.p_value_adjusted is None else replace(metric, p_value_adjusted=next(corrected))
        for metric in found
    ]


def _withheld(metric: MetricResult, reason: str) -> MetricResult:
    """Return a comparison without its numbers."""
    return MetricResult(
        metric.variant, metric.metric, metric.role, None, None, None, None, None, None, metric.method,
        None, None, None, None, None, False, reason,
    )  # fmt: skip


def _decision(
    primary: Metric, split_check: SampleRatioResult, found: Iterable[MetricResult], verdicts: Mapping[str, Decided]
) -> Decision:
    """Return the verdict: a broken split comes first, then harm, then the primary metric."""
    if not split_check.ok:
        return Decision(Verdict.WITHHELD, split_check.reason)
    harmed = [metric for metric in found if metric.harmed]
    if harmed:
        names = ", ".join(f"{metric.metric} in {metric.variant}" for metric in harmed)
        return Decision(Verdict.HARMED, f"worse by more than the margin: {names}")
    sign = 1 if primary.higher_is_better else -1
    gains = {name: sign * each.difference for name, each in verdicts.items() if each.difference is not None}
    winners = {name: gain for name, gain in gains.items() if gain > 0}
    if winners:
        best = max(winners, key=winners.__getitem__)
        return Decision(Verdict.BETTER, f"{verdicts[best].method}: {verdicts[best].reason}", best)
    reasons = "; ".join(f"{name}: {each.reason}" for name, each in verdicts.items())
    if len(gains) == len(verdicts):
        return Decision(Verdict.WORSE, reasons)
    if all(each.finished or each.difference is not None for each in verdicts.values()):
        return Decision(Verdict.NO_DIFFERENCE, reasons)
    return Decision(Verdict.UNDECIDED, reasons)


def _everything(tally: Tally, name: str) -> Arm:
    """Return one variant over all phases."""
    return sum((arms[name] for arms in tally.latest().values()), NOBODY)


def _variant(definition: Definition, tally: Tally, totals: Totals, name: str) -> VariantResult:
    """Return what was counted in one variant."""
    arm = _everything(tally, name)
    fits = arm.users > 0 and arm.converters <= arm.users
    value = totals.get(CONVERSION, {}).get(name)
    return VariantResult(
        name=name,
        impressions=tally.impressions()[name],
        users=arm.users,
        conversions=tally.conversions()[name],
        converters=arm.converters,
        interval=fixed.wilson(Counts(arm.users, arm.converters), alpha=definition.alpha) if fits else None,
        custom_metrics={
            metric: by_variant[name]
            for metric, by_variant in totals.items()
            if metric not in {CONVERSION, VALUE} and name in by_variant
        },
        total_value=value.total if value else 0.0,
    )


def _progress(definition: Definition, tallies: Mapping[str, Tally]) -> Progress:
    """Return how far the experiment is, judged by its first two variants."""
    primary = primary_of(definition)
    tally, base = tallies[primary.name], tallies[CONVERSION]
    users = sum(_everything(base, name).users for name in base.names)
    pair = pair_of(definition, primary, base.names[1])
    needed, detectable = _needed(pair, _everything(tally, pair.control), _everything(tally, pair.treatment))
    scale = users / max(1, sum(_everything(base, name).users for name in (pair.control, pair.treatment)))
    return Progress(users, definition.planned_users, None if needed is None else ceil(needed * scale), detectable)


def _needed(pair: Pair, control: Arm, treatment: Arm) -> tuple[int | None, float | None]:
    """Return the users of both arms that the difference seen so far needs, and what the present ones can find."""
    users = control.users + treatment.users
    if not (control.users and treatment.users):
        return None, None
    inflation = power.ANY_TIME if pair.planned is None else power.GROUP_SEQUENTIAL
    question = power.Question(alpha=pair.alpha, share=treatment.users / users, inflation=inflation)
    if pair.metric.kind is not Kind.RATE:
        arm = mean_of(Sums(control.users, control.y, control.yy))
        if pair.metric.kind is Kind.RATIO or not arm.variance or arm.value is None:
            return None, None
        deviation, gain = sqrt(arm.variance), treatment.y / treatment.users - arm.value
        size = power.size_for_means(deviation, gain, question).users if gain else None
        return size, power.detectable_mean(arm.value, deviation, users, question).difference
    rate, gain = control.converters / control.users, treatment.converters / treatment.users
    if not (0 < rate < 1 and 0 <= gain <= 1):
        return None, None
    size = power.size_for_rates(rate, gain - rate, question).users if gain != rate and 0 < gain < 1 else None
    return size, power.detectable_rate(rate, users, question).difference


def _history(definition: Definition, tally: Tally) -> Iterable[Point]:
    """Return the primary metric of every variant at the end of every look, with the always-valid interval."""
    primary = primary_of(definition)
    for variant in definition.variants[1:]:
        pair = pair_of(definition, primary, variant.name)
        state = Confidence(pair.planned or USUAL_PLAN, pair.alpha)
        for look, phases in tally.seen():
            now = difference(pair, phases)
            state = confidence.look(state, now)
            yield Point(variant.name, (look + 1) * definition.look_every, now.users, now.value, state.interval)
