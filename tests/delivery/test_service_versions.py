"""The ready service as the version: a data folder and a model each, and predictions through the proxy all the time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.client import request
from quadra_matrix.delivery.local import Machine
from quadra_matrix.errors import ServiceError, ServiceUnreachable
from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels
from tests.delivery.conftest import QUADRA, Local, is_ready
from tests.services.process import free_port, running, wait_until

pytestmark = pytest.mark.slow

PLAN = """
steps: [{share: 30, seconds: 4}, {share: 100, seconds: 3}]
checks:
  - {path: /api/predict, method: POST, body: '{"rows": [[5.1, 3.5, 1.4, 0.2]]}', fields: {predictions.0: setosa}}
baseline: 2
tick: 0.5
patience: 40
ready_within: 40
drain_within: 5
limits: {enough_points: 0.1, latency: false}
"""


def publish(folder: Path, versions: int) -> None:
    """Train the model ``sample`` in a data folder; the last version is the one in production."""
    folder.mkdir(parents=True)
    database = Database(f"sqlite:///{folder / 'quadra.db'}")
    upgrade(database)
    registry = Registry(SqlModels(database), folder / "models")
    data = Datasets(SqlDatasets(database), folder / "datasets")
    for _ in range(versions):
        train(
            TrainingRequest(model="sample", data=BuiltIn(name="iris")),
            data=data,
            registry=registry,
            report=lambda progress: None,
        )
    registry.move("sample", "production", versions)
    database.close()


@dataclass
class Predictions:
    """Which model versions answered, and what failed."""

    models: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def predict(port: int) -> dict[str, Any]:
    """Return a prediction asked for through the proxy."""
    body = {"rows": [[5.1, 3.5, 1.4, 0.2]]}
    found: dict[str, Any] = request(f"http://127.0.0.1:{port}/api/predict", method="POST", body=body)
    return found


@contextmanager
def predicting(port: int) -> Iterator[Predictions]:
    """Ask for predictions, one after the other, until the block ends."""
    found, over = Predictions(), threading.Event()

    def client() -> None:
        while not over.wait(0.02):
            try:
                found.models.append(predict(port)["version"])
            except (ServiceError, ServiceUnreachable) as failed:
                found.failures.append(str(failed))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Local, list[str]]]:
    """Run the ready service as ``v1`` behind the proxy; yield the machine and the command of every version."""
    for number, version in enumerate(("v1", "v2"), start=1):
        publish(tmp_path / "data" / version, number)
    # Whoever comes through a proxy is nobody on this machine, and shows no key here.
    serve = ["env", "QUADRA_ANONYMOUS_SCOPES=predict", *QUADRA, "serve"]
    serve += ["--port", "{port}", "--hub-port", "{free_port}", "--workers", "1"]
    serve += ["--data-dir", str(tmp_path / "data" / "{version}")]
    folder, port = tmp_path / "delivery", free_port()
    up = [*QUADRA, "local", "up", "v1", "--state", str(folder), "--port", str(port), "--health", "/health/ready"]
    try:
        with running(
            [*up, "--", *serve],
            log=tmp_path / "supervisor.log",
            ready=lambda: is_ready(folder, "v1"),
            env={"PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "")},
        ) as supervisor:
            yield Local(folder, port, supervisor), serve
    finally:
        Machine(folder).down()


def test_a_new_model_takes_over_between_two_predictions(service: tuple[Local, list[str]], tmp_path: Path) -> None:
    local, serve = service
    (tmp_path / "plan.yaml").write_text(PLAN)
    deploy = local.words("canary", "deploy", "v2", "--auto", "--plan", str(tmp_path / "plan.yaml"))

    with predicting(local.port) as answered:
        wait_until(lambda: 1 in answered.models, "a prediction of the first model")
        ended = local.run([*deploy, "--", *serve])
        after = predict(local.port)

    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert (after["version"], after["predictions"]) == (2, ["setosa"])
    assert answered.failures == []
    assert 1 in answered.models[answered.models.index(2) :]  # both answered while the traffic was split
