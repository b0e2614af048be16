"""The promised A/B testing snippets, as promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_snippets_run_one_after_the_other() -> None:
    rendered = []

    def render_new_ui(config: dict[str, Any]) -> None:
        rendered.append(config)

    render_old_ui = render_new_ui
    # fmt: off
    # Create Experiment
    from utils.ab_testing import ABTestingFramework

    framework = ABTestingFramework(storage_path='experiments')

    experiment = framework.create_experiment(
        name="new_ui_test",
        variants=[
            {
                "name": "control",
                "weight": 0.5,
                "config": {"ui": "old", "color": "blue"}
            },
            {
                "name": "treatment",
                "weight": 0.5,
                "config": {"ui": "new", "color": "green"}
            }
        ],
        targeting_rules={
            "country": {"in": ["US", "CA"]},
            "age": {"gt": 18}
        }
    )

    # Start experiment
    experiment.start()

    # Get variant for user
    variant = framework.get_variant(
        experiment_name="new_ui_test",
        user_id="user123",
        attributes={"country": "US", "age": 25}
    )

    # Use variant config
    if variant["variant_name"] == "treatment":
        render_new_ui(variant["config"])
    else:
        render_old_ui(variant["config"])

    # Track conversion
    framework.track_conversion(
        experiment_name="new_ui_test",
        variant_name="treatment",
        value=99.99,
        custom_metrics={"time_on_page": 120}
    )

    results = framework.get_experiment_results("new_ui_test")
    # fmt: on

    assert rendered == [variant["config"]]
    assert variant["in_experiment"]
    assert results["variants"][variant["variant_name"]]["impressions"] == 1
    treatment = results["variants"]["treatment"]
    assert treatment["conversions"] == 1
    assert treatment["custom_metrics"]["time_on_page"]["mean"] == 120
    assert {"conversion_rate", "impressions", "conversions"} <= set(treatment)
    assert {"z_score", "p_value", "lift"} <= set(results["statistical_significance"]["treatment"])
    framework.close()


def test_the_flask_snippet_runs() -> None:
    from utils.ab_testing import ABTestingFramework

    app = Flask(__name__)
    app.secret_key = "a key for tests"
    framework = ABTestingFramework()
    variants = [{"name": "control", "weight": 0.5}, {"name": "treatment", "weight": 0.5, "config": {"title": "New"}}]
    experiment = framework.create_experiment("new_feature_test", variants)
    experiment.start()

    def render_template(name: str, **config: Any) -> str:
        return f"{name} {config}"

    # fmt: off
    from utils.ab_testing import ab_test

    @app.route('/feature')
    @ab_test(framework, 'new_feature_test')
    def feature_route() -> str:
        variant = g.ab_variant

        if variant['variant_name'] == 'treatment':
            return render_template('new_feature.html', **variant['config'])
        return render_template('old_feature.html')
    # fmt: on

    answers = {app.test_client().get("/feature").text for _ in range(40)}

    assert answers == {"new_feature.html {'title': 'New'}", "old_feature.html {}"}
    framework.close()


def test_the_quick_start_runs() -> None:
    from utils.ab_testing import ABTestingFramework

    framework = ABTestingFramework()
    experiment = framework.create_experiment("quick", [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}])
    experiment.start()

    assert experiment.status == "running"
    framework.close()
