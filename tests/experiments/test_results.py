"""Results: the promised fields, the decision, harm, the sample ratio, what is withheld, auto-stop."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from quadra_matrix.events.experiments import ExperimentDecided
from quadra_matrix.experiments import ABTestingFramework, Experiment
from quadra_matrix.experiments.analysis import analyse
from quadra_matrix.experiments.charts import history_svg, rates_svg
from quadra_matrix.experiments.definition import Definition, Kind, Metric, Phase, Role, Status, Variant
from quadra_matrix.experiments.log import Conversion
from quadra_matrix.experiments.results import Results, Verdict
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.fixed import z_test
from quadra_matrix.testing import FakeClock, RecordingHook
from tests.experiments.events import Seen, convert, in_sqlite

VARIANTS = ({"name": "control", "weight": 1}, {"name": "treatment", "weight": 1})
NAMES = ("control", "treatment")
START = 1_700_006_400.0  # a midnight
DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=START)


@pytest.fixture
def framework(tmp_path: Path, clock: FakeClock) -> Iterator[ABTestingFramework]:
    made = ABTestingFramework(tmp_path, clock=clock, hook=RecordingHook())
    yield made
    made.close()


def play(
    experiment: Experiment, framework: ABTestingFramework, rates: dict[str, float], users: int, name: str = "u"
) -> None:
    """Expose users, and convert them at their variant's rate."""
    chance = random.Random(11)
    for number in range(users):
        user = f"{name}{number}"
        variant = framework.get_variant(experiment.name, user)["variant_name"]
        if chance.random() < rates[variant]:
            framework.track_conversion(experiment.name, variant, 10.0, {"pages": 3.0}, user_id=user)


def counted(
    folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion], now: float = 30 * DAY, **options: Any
) -> Results:
    """Analyse given events."""
    definition = Definition(
        "exp",
        tuple(map(Variant, options.pop("names", NAMES))),
        status=Status.RUNNING,
        phases=(Phase(1, (1.0,) * 2, 0.0),),
        **options,
    )
    return analyse(definition, in_sqlite(folder, exposures, conversions), now)


def half(users: int, at: float = 0.0) -> list[Seen]:
    return [Seen(at, f"u{number}", NAMES[number % 2]) for number in range(users)]


def test_the_promised_fields(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.15}, 2000)

    found = json.loads(json.dumps(framework.get_experiment_results("exp"), allow_nan=False))

    control, treatment = (found["variants"][name] for name in NAMES)
    expected = z_test(
        Counts(control["users"], control["conversions"]), Counts(treatment["users"], treatment["conversions"])
    )
    significance = found["statistical_significance"]["treatment"]
    assert control["impressions"] + treatment["impressions"] == 2000
    assert control["conversion_rate"] == control["converters"] / control["users"]
    assert significance["z_score"] == pytest.approx(expected.statistic)
    assert significance["p_value"] == pytest.approx(expected.p_value)
    assert significance["lift"] == pytest.approx(expected.lift)
    assert set(significance["fixed_horizon"]) == {"z_score", "p_value", "p_value_adjusted", "interval"}
    assert control["custom_metrics"]["pages"]["mean"] == 3.0
    assert treatment["total_value"] == 10.0 * treatment["conversions"]


def test_conversions_without_a_user_are_counted_by_variant(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    for number in range(400):
        variant = framework.get_variant("exp", f"u{number}")["variant_name"]
        if number % 4 == 0:
            framework.track_conversion(experiment_name="exp", variant_name=variant, value=99.99)

    results = experiment.results()

    assert sum(variant.converters for variant in results.variants) == 100
    assert results.metrics[0].z_score is not None
    assert results.metrics[0].method == "beta-binomial on converters"


def test_more_conversions_than_users_have_no_rate(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    for number in range(40):
        framework.get_variant("exp", f"u{number}")
    for _ in range(100):
        framework.track_conversion("exp", "control")

    metric = experiment.results().metrics[0]

    assert metric.z_score is None
    assert "user_id" in str(metric.reason)


def test_a_clear_difference_is_decided_at_once_and_said_with_a_reason(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.2}, 4000)

    decision = experiment.results().decision

    assert (decision.verdict, decision.variant) == (Verdict.BETTER, "treatment")
    assert "always-valid p" in decision.reason


def test_with_a_plan_nothing_is_decided_before_the_first_look_is_complete(
    framework: ABTestingFramework, clock: FakeClock
) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, planned_users=10_000)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.2}, 4000)

    today = experiment.results().decision
    clock.advance(DAY)
    tomorrow = experiment.results().decision

    assert today.verdict is Verdict.UNDECIDED
    assert "not complete" in today.reason
    assert tomorrow.verdict is Verdict.BETTER
    assert "of 10000 planned users" in tomorrow.reason


def test_a_reached_plan_without_a_difference_ends(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, planned_users=1000)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.1}, 1000)

    assert experiment.results().decision.verdict is Verdict.NO_DIFFERENCE


def test_a_loser_is_called_worse(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    play(experiment, framework, {"control": 0.2, "treatment": 0.1}, 4000)

    assert experiment.results().decision.verdict is Verdict.WORSE


def test_a_broken_split_withholds_the_results(tmp_path: Path) -> None:
    exposures = [Seen(0.0, f"u{n}", "control" if n % 5 < 3 else "treatment") for n in range(5000)]

    results = counted(tmp_path, exposures, [convert(1.0, str(n), f"u{n}") for n in range(0, 5000, 9)])

    assert results.decision.verdict is Verdict.WITHHELD
    assert not results.sample_ratio.ok
    assert results.metrics[0].z_score is None
    assert results.metrics[0].always_valid_p_value is None
    assert "as designed" in str(results.metrics[0].reason)
    assert results.variants[0].users == 3000
    assert not results.history


def test_a_harmed_guardrail_outweighs_a_better_primary_metric(tmp_path: Path) -> None:
    chance = random.Random(3)
    conversions = []
    for number in range(4000):
        slow = number % 2
        if chance.random() < (0.2 if slow else 0.1):
            conversions.append(convert(1.0, f"c{number}", f"u{number}"))
        latency = chance.gauss(130 if slow else 100, 20)
        conversions.append(convert(1.0, f"l{number}", f"u{number}", latency, metric="latency"))
    guardrail = Metric("latency", Kind.MEAN, Role.GUARDRAIL, higher_is_better=False, margin=10)

    results = counted(tmp_path, half(4000), conversions, metrics=(Metric(), guardrail))

    assert results.decision.verdict is Verdict.HARMED
    assert "latency in treatment" in results.decision.reason


def test_a_guardrail_within_its_margin_is_not_harmed(tmp_path: Path) -> None:
    chance = random.Random(3)
    conversions = [
        convert(1.0, f"l{n}", f"u{n}", chance.gauss(105 if n % 2 else 100, 20), metric="latency") for n in range(4000)
    ]
    guardrail = Metric("latency", Kind.MEAN, Role.GUARDRAIL, higher_is_better=False, margin=10)

    results = counted(tmp_path, half(4000), conversions, metrics=(Metric(), guardrail))

    assert results.decision.verdict is Verdict.UNDECIDED


def test_a_covariate_sharpens_a_mean(tmp_path: Path) -> None:
    chance = random.Random(5)
    before = [chance.gauss(100, 30) for _ in range(2000)]
    exposures = [Seen(0.0, f"u{n}", NAMES[n % 2], covariate=before[n]) for n in range(2000)]
    values = [convert(1.0, f"c{n}", f"u{n}", before[n] + chance.gauss(2 * (n % 2), 5)) for n in range(2000)]
    metrics = (Metric("value", Kind.MEAN),)
    for folder in ("plain", "adjusted"):
        (tmp_path / folder).mkdir()

    plain = counted(tmp_path / "plain", exposures, values, metrics=metrics).metrics[0]
    adjusted = counted(tmp_path / "adjusted", exposures, values, metrics=metrics, covariate="spend").metrics[0]

    assert abs(plain.z_score or 0) < 3 < abs(adjusted.z_score or 0)
    assert adjusted.difference == pytest.approx(2, abs=0.7)


def test_a_ratio_divides_sums_and_not_averages(tmp_path: Path) -> None:
    conversions = []
    for number in range(2000):
        views = 1 + number % 7
        clicks = views * (0.5 if number % 2 else 0.4)
        conversions.append(convert(1.0, f"v{number}", f"u{number}", float(views), metric="views"))
        conversions.append(convert(1.0, f"k{number}", f"u{number}", clicks, metric="clicks"))
    metric = Metric("clicks", Kind.RATIO, denominator="views")

    found = counted(tmp_path, half(2000), conversions, metrics=(metric,)).metrics[0]

    assert found.difference == pytest.approx(0.1)
    assert found.method == "asymptotic confidence sequence"


def test_several_variants_share_alpha_and_are_corrected(tmp_path: Path) -> None:
    names = ("control", "one", "two")
    exposures = [Seen(0.0, f"u{n}", names[n % 3]) for n in range(3000)]
    conversions = [convert(1.0, f"c{n}", f"u{n}") for n in range(3000) if n % 10 < 1 + (n % 3 == 2)]
    definition = Definition(
        "exp", tuple(map(Variant, names)), status=Status.RUNNING, phases=(Phase(1, (1.0, 1.0, 1.0), 0.0),)
    )

    results = analyse(definition, in_sqlite(tmp_path, exposures, conversions), 30 * DAY)

    one, two = results.metrics
    assert two.p_value_adjusted == pytest.approx(2 * (two.p_value or 0))
    assert (one.p_value_adjusted or 0) >= (one.p_value or 0)
    assert results.decision.variant == "two"


def test_secondary_metrics_are_corrected_for_each_other(tmp_path: Path) -> None:
    conversions = [
        convert(1.0, f"{name}{n}", f"u{n}", float(n % 5 + (name == "a") * (n % 2)), metric=name)
        for n in range(400)
        for name in ("a", "b")
    ]
    metrics = (Metric(), *(Metric(name, Kind.MEAN, Role.SECONDARY) for name in ("a", "b")))

    _, a, b = counted(tmp_path, half(400), conversions, metrics=metrics).metrics

    assert a.p_value_adjusted == pytest.approx(2 * (a.p_value or 0))
    assert b.p_value_adjusted == b.p_value


def test_the_same_log_gives_the_same_decision_whenever_it_is_read(tmp_path: Path) -> None:
    """Peeking adds no looks: they are fixed in time, not by who asks."""
    chance = random.Random(1)
    exposures = [Seen(number * 20 * DAY / 4000, f"u{number}", NAMES[number % 2]) for number in range(4000)]
    conversions = [
        convert(one.at + 60, f"c{n}", one.unit)
        for n, one in enumerate(exposures)
        if chance.random() < (0.15 if one.variant == "treatment" else 0.1)
    ]

    results = counted(tmp_path, exposures, conversions, now=40 * DAY, planned_users=8000)
    definition = Definition(
        "exp",
        tuple(map(Variant, NAMES)),
        status=Status.RUNNING,
        phases=(Phase(1, (1.0, 1.0), 0.0),),
        planned_users=8000,
    )
    (tmp_path / "again").mkdir()
    later = analyse(definition, in_sqlite(tmp_path / "again", exposures, conversions), 90 * DAY)

    assert later.decision == results.decision
    assert later.decision.verdict is Verdict.BETTER


@pytest.mark.parametrize(("auto_stop", "status"), [("stop", Status.COMPLETED), ("report", Status.RUNNING)])
def test_a_decision_stops_or_reports_as_configured(tmp_path: Path, auto_stop: str, status: Status) -> None:
    hook = RecordingHook()
    framework = ABTestingFramework(tmp_path, hook=hook)
    experiment = framework.create_experiment("exp", VARIANTS, auto_stop=auto_stop)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.25}, 3000)

    framework.check()
    framework.check()

    assert experiment.status is status
    assert [event.variant for event in hook.of(ExperimentDecided)] == ["treatment"]
    if status is Status.COMPLETED:
        assert framework.get_variant("exp", "anybody")["variant_name"] == "treatment"
        assert experiment.definition.reason.startswith("better: randomisation")
    framework.close()


def test_an_experiment_may_refuse_to_be_watched(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS, auto_stop="off").start()

    assert framework.check() == {}


def test_progress_says_what_is_still_needed(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, planned_users=50_000)
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.11}, 3000)

    progress = experiment.results().progress

    assert (progress.users, progress.planned_users) == (3000, 50_000)
    assert progress.needed_users is not None
    assert progress.detectable_difference == pytest.approx(0.03, abs=0.01)


def test_an_empty_experiment_has_results_without_numbers(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, metrics=[{"name": "value", "kind": "mean"}])

    results = experiment.results()

    assert results.decision.verdict is Verdict.UNDECIDED
    assert results.metrics[0].z_score is None
    assert results.progress.needed_users is None
    json.dumps(results.to_json(), allow_nan=False)


def test_charts_are_well_formed_and_need_no_styles_or_scripts(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("a<b", VARIANTS)
    empty = experiment.results()
    experiment.start()
    play(experiment, framework, {"control": 0.1, "treatment": 0.2}, 2000)

    for results in (empty, experiment.results()):
        for drawn in (history_svg(results), rates_svg(results), results._repr_html_()):
            text = ET.tostring(ET.fromstring(drawn), encoding="unicode")
            assert "style" not in text
            assert "script" not in text
