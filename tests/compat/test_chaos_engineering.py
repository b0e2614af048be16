"""The promised snippets for chaos experiments: verbatim but for the port and the duration."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra_matrix.chaos.promised import ExperimentResult
from quadra_matrix.errors import InvalidValue
from tests.chaos.conftest import Service, service
from utils.chaos_engineering import DependencyFailureExperiment, ResourceExhaustionExperiment

__all__ = ["service"]

LATENCY = """
from utils.chaos_engineering import LatencyInjectionExperiment

experiment = LatencyInjectionExperiment(
    name="high_latency_test",
    target_url="http://localhost:5000",
    latency_ms=2000
)

result = experiment.run(duration_seconds=60)
"""

RESOURCES = """
from utils.chaos_engineering import ResourceExhaustionExperiment

# Memory pressure
experiment = ResourceExhaustionExperiment(
    name="memory_test",
    resource_type="memory",
    exhaust_percentage=80
)

# CPU pressure
experiment = ResourceExhaustionExperiment(
    name="cpu_test",
    resource_type="cpu",
    exhaust_percentage=80
)
"""

FAILURE = """
from utils.chaos_engineering import ServiceFailureExperiment

def kill_service():
    # Simulate service failure
    pass

def restart_service():
    # Restore service
    pass

experiment = ServiceFailureExperiment(
    name="db_failure",
    failure_function=kill_service,
    recovery_function=restart_service
)
"""


@pytest.mark.slow
def test_latency(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shorter = LATENCY.replace(":5000", f":{service.port}").replace("seconds=60", "seconds=4").replace("2000", "300")

    exec(shorter, names)

    result = names["result"]
    assert isinstance(result, ExperimentResult)
    assert result.experiment_name == "high_latency_test"
    assert result.duration_seconds > 4
    assert result.outcome.doses[0].delivered == pytest.approx(300, abs=15)
    assert result.success == (result.error is None)
    assert result.recovered == (result.outcome.times.to_recover is not None)
    assert result.to_dict()["experiment"] == "high_latency_test"


@pytest.mark.parametrize("snippet", [RESOURCES, FAILURE], ids=["resources", "failure"])
def test_construction(snippet: str) -> None:
    exec(snippet, {})


def test_what_cannot_be_exhausted_or_taken_away_is_refused() -> None:
    with pytest.raises(InvalidValue, match="resource_type"):
        ResourceExhaustionExperiment("x", "patience")
    with pytest.raises(InvalidValue, match="dependency"):
        DependencyFailureExperiment("x")


def test_a_dependency_is_taken_away_by_a_proxy_or_by_functions() -> None:
    DependencyFailureExperiment("x", "127.0.0.1:6379", "127.0.0.1:6390", kind="redis")
    DependencyFailureExperiment("x", failure_function=list, recovery_function=list)
