"""The framework: lifecycle, assignment, conversions, several processes, phases."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.errors import (
    DatabaseUnavailable,
    ExperimentConflict,
    ExperimentStateError,
    InvalidValue,
    UnknownExperiment,
)
from quadra_matrix.events.experiments import ExperimentChanged
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.experiments.definition import Status
from quadra_matrix.experiments.files import FileStore
from quadra_matrix.experiments.lifecycle import start
from quadra_matrix.experiments.ports import Changes
from quadra_matrix.experiments.wire import from_json, to_json
from quadra_matrix.testing import FakeClock, RecordingHook
from tests.services.process import wait_until

VARIANTS: list[dict[str, Any]] = [
    {"name": "control", "weight": 0.5, "config": {"ui": "old"}},
    {"name": "treatment", "weight": 0.5, "config": {"ui": "new", "flags": ["a"]}},
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def framework(tmp_path: Path, clock: FakeClock) -> Iterator[ABTestingFramework]:
    made = ABTestingFramework(tmp_path, clock=clock, hook=RecordingHook())
    yield made
    made.close()


def arms(framework: ABTestingFramework, name: str, users: int = 400) -> dict[str, str]:
    """Return the variant of each user who is in the experiment."""
    answers = {f"u{number}": framework.get_variant(name, f"u{number}") for number in range(users)}
    return {user: answer["variant_name"] for user, answer in answers.items() if answer["in_experiment"]}


def test_a_draft_serves_the_control_and_says_so_once(
    framework: ABTestingFramework, caplog: pytest.LogCaptureFixture
) -> None:
    framework.create_experiment("exp", VARIANTS)

    answers = [framework.get_variant("exp", user) for user in ("a", "b", "c")]

    assert {answer["variant_name"] for answer in answers} == {"control"}
    assert answers[0]["reason"] == "draft"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_running_splits_users_and_keeps_them(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS).start()

    first, second = arms(framework, "exp"), arms(framework, "exp")

    assert first == second
    assert len(first) == 400
    assert min(Counter(first.values()).values()) > 150


def test_an_answer_is_the_callers_own(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS, forced={"u": "treatment"}).start()

    framework.get_variant("exp", "u")["config"]["flags"].append("mine")

    assert framework.get_variant("exp", "u")["config"] == {"ui": "new", "flags": ["a"]}


def test_a_user_outside_the_rules_gets_the_control_with_a_reason(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS, {"age": {"gt": 18}}).start()

    answer = framework.get_variant("exp", "u", {"age": 12})

    assert (answer["variant_name"], answer["in_experiment"], answer["reason"]) == ("control", False, "age fails gt 18")


def test_pausing_serves_the_control_and_going_on_restores(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    before = arms(framework, "exp")

    experiment.pause()
    paused = arms(framework, "exp")
    experiment.start()

    assert not paused
    assert arms(framework, "exp") == before


def test_completing_serves_the_winner_to_those_meant_and_counts_nothing(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, {"age": {"gt": 18}}, coverage=0.1)
    experiment.start()
    experiment.complete(winner="treatment")

    inside, outside = (framework.get_variant("exp", "u", {"age": age}) for age in (20, 10))
    framework.track_conversion("exp", "treatment", 1.0)

    assert (inside["variant_name"], inside["in_experiment"], inside["reason"]) == ("treatment", False, "completed")
    assert outside["variant_name"] == "control"
    assert framework.log.waiting == 0


def test_completing_without_a_winner_serves_the_control(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    experiment.complete()

    assert framework.get_variant("exp", "u")["variant_name"] == "control"


@pytest.mark.parametrize(
    ("moves", "refused"),
    [([], "pause"), ([], "complete"), (["start"], "start"),
     (["start", "complete"], "start"), (["start", "complete"], "pause")],
)  # fmt: skip
def test_moves_that_the_status_forbids_are_refused(
    framework: ABTestingFramework, moves: list[str], refused: str
) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    for move in moves:
        getattr(experiment, move)()

    with pytest.raises(ExperimentStateError, match=f"cannot {refused} experiment 'exp'"):
        getattr(experiment, refused)()


def test_a_ramp_adds_users_and_lowering_restores_them(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment("exp", VARIANTS, coverage=0.2)
    experiment.start()
    small = arms(framework, "exp")

    experiment.cover(0.6)
    large = arms(framework, "exp")
    experiment.cover(0.2)

    assert small.items() < large.items()
    assert arms(framework, "exp") == small


def test_layers_exclude_each_other(framework: ABTestingFramework) -> None:
    for name, part in (("one", (0.0, 0.5)), ("two", (0.5, 1.0))):
        layer = {"name": "checkout", "start": part[0], "end": part[1]}
        framework.create_experiment(name, VARIANTS, layer=layer).start()

    one, two = set(arms(framework, "one")), set(arms(framework, "two"))

    assert not one & two
    assert len(one | two) == 400


def test_a_layers_range_has_one_owner_at_a_time(framework: ABTestingFramework) -> None:
    layer = {"name": "checkout", "start": 0.0, "end": 0.5}
    first = framework.create_experiment("one", VARIANTS, layer=layer)

    with pytest.raises(InvalidValue, match="which 'one' uses"):
        framework.create_experiment("two", VARIANTS, layer={**layer, "start": 0.4})
    first.start()
    first.complete()

    framework.create_experiment("two", VARIANTS, layer=layer)


def test_a_holdout_is_kept_out_of_every_experiment(framework: ABTestingFramework) -> None:
    for name in ("one", "two"):
        framework.create_experiment(name, VARIANTS, holdout=0.2).start()

    one, two = set(arms(framework, "one")), set(arms(framework, "two"))

    assert one == two
    assert 280 < len(one) < 360


def test_forced_units_are_served_and_not_counted(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS, forced={"tester": "treatment"})

    answer = framework.get_variant("exp", "tester")

    assert (answer["variant_name"], answer["in_experiment"], answer["reason"]) == ("treatment", False, "forced")


def test_new_weights_keep_the_users_who_were_exposed(framework: ABTestingFramework, clock: FakeClock) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    before = arms(framework, "exp", 200)
    framework.flush()
    clock.advance(60)

    experiment.reweight({"control": 0.1, "treatment": 0.9})
    after = arms(framework, "exp", 1200)

    assert {user: after[user] for user in before} == before
    fresh = Counter(variant for user, variant in after.items() if user not in before)
    assert fresh["treatment"] > 6 * fresh["control"]


def test_new_weights_keep_exposed_users_whatever_their_names_hold(
    framework: ABTestingFramework, clock: FakeClock
) -> None:
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    users = [f"a\tb\\{number}\n" for number in range(40)]
    before = [framework.get_variant("exp", user)["variant_name"] for user in users]
    framework.flush()
    clock.advance(60)

    experiment.reweight({"control": 0.01, "treatment": 0.99})

    assert [framework.get_variant("exp", user)["variant_name"] for user in users] == before


def test_a_name_that_the_log_would_escape_is_refused(framework: ABTestingFramework) -> None:
    with pytest.raises(InvalidValue, match="no backslash"):
        framework.create_experiment("ex\\p", VARIANTS)


def test_phases_are_analysed_apart(framework: ABTestingFramework, clock: FakeClock) -> None:
    """Pooled over both phases, the split would look broken."""
    experiment = framework.create_experiment("exp", VARIANTS)
    experiment.start()
    arms(framework, "exp", 1000)
    framework.flush()
    clock.advance(60)
    experiment.reweight({"control": 0.1, "treatment": 0.9})
    arms(framework, "exp", 4000)

    results = experiment.results()

    assert results.sample_ratio.ok
    assert results.excluded.users_in_two_variants == 0
    assert sum(variant.users for variant in results.variants) == 4000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"variants": VARIANTS[:1]}, "variants"),
        ({"variants": [*VARIANTS, VARIANTS[0]]}, "variants"),
        ({"variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]}, "variants.weight"),
        ({"variants": [{"name": "a", "weight": -1}, {"name": "b"}]}, "variants.weight"),
        ({"variants": [{"name": "a", "colour": 1}, {"name": "b"}]}, "variants"),
        ({"variants": "ab"}, "variants"),
        ({"name": " exp"}, "name"),
        ({"coverage": 1.5}, "coverage"),
        ({"alpha": 0}, "alpha"),
        ({"planned_users": 1}, "planned_users"),
        ({"conversion_window": 0}, "conversion_window"),
        ({"look_every": 0.5}, "look_every"),
        ({"forced": {"u": "nobody"}}, "forced.u"),
        ({"layer": {"name": "l", "start": 0.5, "end": 0.5}}, "share"),
        ({"holdout": 2}, "share"),
        ({"metrics": []}, "metrics"),
        ({"metrics": [{"name": "conversion", "kind": "mean"}]}, "metrics.kind"),
        ({"metrics": [{"name": "x", "kind": "median"}]}, "metrics.kind"),
        ({"metrics": [{"name": "x", "kind": "ratio"}]}, "metrics.denominator"),
        ({"metrics": [{"name": "x", "margin": 1}]}, "metrics.margin"),
        ({"auto_stop": "maybe"}, "auto_stop"),
        ({"status": "running"}, "experiment"),
        ({"colour": "red"}, "experiment"),
    ],
)
def test_a_malformed_experiment_is_refused_naming_the_field(
    framework: ABTestingFramework, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValue) as refused:
        framework.create({"name": "exp", "variants": VARIANTS, **fields})

    assert refused.value.field == field


def test_a_name_is_taken_once(framework: ABTestingFramework) -> None:
    framework.create_experiment("exp", VARIANTS)

    with pytest.raises(InvalidValue, match="name is 'exp'"):
        framework.create_experiment("exp", VARIANTS)


def test_an_unknown_experiment_is_an_error(framework: ABTestingFramework) -> None:
    with pytest.raises(UnknownExperiment, match="no experiment is called 'nope'"):
        framework.get_variant("nope", "u")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"variant_name": "nope"}, "variant_name"),
        ({}, "user_id"),
        ({"variant_name": "control", "value": float("nan")}, "value"),
        ({"variant_name": "control", "custom_metrics": {"t": float("inf")}}, "custom_metrics.t"),
        ({"variant_name": "control", "custom_metrics": {"conversion": 1.0}}, "custom_metrics"),
        ({"variant_name": "control", "custom_metrics": {"": 1.0}}, "custom_metrics"),
    ],
)
def test_a_malformed_conversion_is_refused(
    framework: ABTestingFramework, arguments: dict[str, Any], field: str
) -> None:
    framework.create_experiment("exp", VARIANTS).start()

    with pytest.raises(InvalidValue) as refused:
        framework.track_conversion("exp", **arguments)

    assert refused.value.field == field


def test_every_change_is_announced(tmp_path: Path) -> None:
    hook = RecordingHook()
    framework = ABTestingFramework(tmp_path, hook=hook)

    framework.create_experiment("exp", VARIANTS).start()

    assert [(event.status, event.version) for event in hook.of(ExperimentChanged)] == [("draft", 1), ("running", 2)]


def test_another_process_notices_a_change(tmp_path: Path, clock: FakeClock) -> None:
    one = ABTestingFramework(tmp_path, clock=clock)
    experiment = one.create_experiment("exp", VARIANTS)
    other = ABTestingFramework(tmp_path, clock=clock)
    experiment.start()

    clock.advance(2)
    other.get_variant("exp", "u")

    wait_until(lambda: other.definition("exp").status is Status.RUNNING, "the other process to notice")


def test_who_only_looks_for_an_experiment_notices_it_too(tmp_path: Path, clock: FakeClock) -> None:
    other = ABTestingFramework(tmp_path, clock=clock)
    ABTestingFramework(tmp_path, clock=clock).create_experiment("exp", VARIANTS)

    before = other.find("exp")
    clock.advance(2)
    other.find("exp")

    assert before is None
    wait_until(lambda: other.find("exp") is not None, "the other process to notice")


class AwayAtFirst(FileStore):
    """A store whose database does not answer the first question."""

    away = True

    def changes(self, after: int) -> Changes:
        if self.away:
            self.away = False
            raise DatabaseUnavailable("refused")
        return super().changes(after)


def test_a_database_that_is_away_at_the_start_is_asked_again(tmp_path: Path, clock: FakeClock) -> None:
    ABTestingFramework(tmp_path).create_experiment("exp", VARIANTS)

    framework = ABTestingFramework(store=AwayAtFirst(tmp_path), clock=clock)

    assert framework.find("exp") is None
    assert [experiment.name for experiment in framework.experiments()] == ["exp"]


def test_a_store_that_fails_does_not_end_serving(tmp_path: Path, clock: FakeClock) -> None:
    framework = ABTestingFramework(tmp_path / "here", clock=clock)
    framework.create_experiment("exp", VARIANTS)
    (tmp_path / "here" / "experiments.jsonl").write_text("not json\n")
    clock.advance(2)

    assert framework.get_variant("exp", "u")["variant_name"] == "control"


def test_two_changes_of_one_version_conflict(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    draft = from_json({"name": "exp", "variants": VARIANTS})
    store.record(draft)
    running = start(draft, 1.0)
    store.record(running)

    with pytest.raises(ExperimentConflict, match="already has a version 2"):
        store.record(running)


def test_a_torn_version_is_dropped(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    draft = from_json({"name": "exp", "variants": VARIANTS})
    store.record(draft)
    with (tmp_path / "experiments.jsonl").open("ab") as file:
        file.write(b'{"name": "exp", "varia')

    store.record(start(draft, 1.0))

    assert [version.version for version in store.changes(0).definitions] == [1, 2]


def test_a_definition_survives_json(framework: ABTestingFramework) -> None:
    experiment = framework.create_experiment(
        "exp",
        VARIANTS,
        {"or": [{"a": 1}, {"b": {"in": ["x"]}}]},
        layer={"name": "l", "start": 0.0, "end": 0.5},
        holdout=0.1,
        forced={"u": "control"},
        planned_users=1000,
        metrics=[
            {"name": "value", "kind": "mean"},
            {"name": "latency", "kind": "mean", "role": "guardrail", "margin": 5},
        ],
    )
    experiment.start()

    definition = experiment.definition

    assert from_json(json.loads(json.dumps(to_json(definition)))) == definition


def test_many_processes_append_at_once(tmp_path: Path) -> None:
    framework = ABTestingFramework(tmp_path)
    framework.create_experiment("exp", VARIANTS).start()
    script = f"""
import sys
from quadra_matrix.experiments import ABTestingFramework
framework = ABTestingFramework({str(tmp_path)!r})
for number in range(500):
    user = f"{{sys.argv[1]}}-{{number}}"
    framework.get_variant("exp", user)
    if number % 5 == 0:
        framework.track_conversion("exp", user_id=user, value=1.0)
"""
    running = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4

    results = framework.get_experiment_results("exp")

    assert sum(variant["users"] for variant in results["variants"].values()) == 2000
    assert sum(variant["converters"] for variant in results["variants"].values()) == 400


def test_importing_brings_neither_statistics_nor_duckdb() -> None:
    script = "import sys, quadra_matrix.experiments as e; print([m for m in sys.modules if m.split('.')[0] in "
    script += "('scipy', 'numpy', 'duckdb', 'flask', 'pydantic', 'click') or m.startswith('quadra_matrix.stats')])"

    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
