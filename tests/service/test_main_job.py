"""The main job over real HTTP and WebSocket: upload, train, follow, predict, move the alias, restart."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer
from websockets.sync.client import connect

from quadra_matrix.client import request
from quadra_matrix.errors import ServiceError, ServiceUnreachable
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.service.settings import Settings
from tests.services.process import free_port, needs, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUADRA = Path(sys.executable).with_name("quadra")
FOLLOWED_WITHIN = 300.0
"""Seconds a training may take here; the machines are busy."""


@dataclass(frozen=True)
class Service:
    """A running ``quadra serve``."""

    process: subprocess.Popen[bytes]
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def ask(self, path: str, body: object | None = None, method: str | None = None) -> Any:
        """Return the JSON answer; a body makes it a POST."""
        return request(self.url + path, method=method or ("GET" if body is None else "POST"), body=body)

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def upload(self, file: Path) -> Any:
        sent = urllib.request.Request(
            f"{self.url}/api/datasets?name={file.stem}", data=file.read_bytes(), headers={"Content-Type": "text/csv"}
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return json.load(answer)

    def follow(self, job: str) -> list[WebSocketMessage]:
        """Return every message about the job, from its beginning to its end."""
        heard: list[WebSocketMessage] = []
        with connect(f"ws://127.0.0.1:{self.settings.hub_port}/ws?job={job}&after=0") as socket:
            while not heard or not heard[-1].data.state.is_over:
                heard.append(WebSocketMessage.model_validate_json(socket.recv(timeout=FOLLOWED_WITHIN)))
        return heard

    def train(self, **asked: object) -> list[WebSocketMessage]:
        return self.follow(self.ask("/api/train", asked)["id"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=free_port(), hub_port=free_port(), grace_seconds=10)


@contextmanager
def served(settings: Settings, *flags: str) -> Iterator[Service]:
    """Start ``quadra serve`` and yield it once it is ready; it ends by itself when asked to."""

    def ready() -> bool:
        try:
            return bool(request(f"http://127.0.0.1:{settings.port}/health/ready")["status"] == "ok")
        except (ServiceError, ServiceUnreachable):
            return False

    log = settings.data_dir.with_suffix(".log")
    with running([QUADRA, "serve", *flags], log=log, ready=ready, env=settings.child_environment()) as process:
        yield Service(process, settings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(settings.grace_seconds + 5) == 0, log.read_text()


@pytest.fixture
def cancer(tmp_path: Path) -> Path:
    """The breast cancer data as a CSV file, with labels in words."""
    found = load_breast_cancer()
    path = tmp_path / "cancer.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*found.feature_names, "diagnosis"])
        writer.writerows([*row, found.target_names[label]] for row, label in zip(found.data, found.target, strict=True))
    return path


def test_upload_train_predict_move_the_alias_restart(settings: Settings, cancer: Path) -> None:
    with cancer.open() as file:
        *columns, target = next(rows := csv.reader(file))
        sample = [row for _, row in zip(range(60), rows, strict=False)]
    records = [dict(zip(columns, map(float, row), strict=False)) for row in sample]
    truth = [row[-1] for row in sample]

    with served(settings) as service:
        dataset = service.upload(cancer)
        assert (dataset["rows"], len(dataset["columns"])) == (569, 31)

        data = {"source": "dataset", "id": dataset["id"]}
        trainings = [
            service.train(model="cancer", data=data, target=target, estimator={"name": name}, seed=7)
            for name in ("linear", "random_forest")
        ]
        for version, heard in enumerate(trainings, 1):
            assert heard[-1].type == "job.succeeded"
            assert heard[-1].data.result is not None
            assert heard[-1].data.result["version"] == version
            assert heard[-1].data.result["metrics"]["accuracy"] > 0.9
            sequences = [message.sequence for message in heard]
            assert sequences == sorted(set(sequences))
            fractions = [message.data.fraction for message in heard]
            assert fractions == sorted(fractions)
            assert {"job.queued", "job.running", "job.progress"} <= {message.type for message in heard}

        first = service.ask("/api/predict", {"model": "cancer", "rows": records})
        assert first["version"] == 1
        assert sum(said == true for said, true in zip(first["predictions"], truth, strict=True)) > 50

        moved = service.ask("/api/models/cancer/aliases/production", {"version": 2}, method="PUT")
        assert moved["version"] == 2
        answers = [service.ask("/api/predict", {"model": "cancer", "rows": records}) for _ in range(20)]
        assert {answer["version"] for answer in answers} == {2}, "every worker follows the alias at once"

        metrics = service.text("/metrics")
        assert 'quadra_predictions_total{model="cancer",version="2"} 20.0' in metrics
        assert 'quadra_predicted_rows_total{model="cancer",version="1"} 60.0' in metrics
        assert 'quadra_training_jobs{state="succeeded"} 2.0' in metrics
        promtool = needs("promtool", "apt-get install prometheus")
        checked = subprocess.run([promtool, "check", "metrics"], input=metrics.encode(), capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, b"")
        assert service.ask("/health")["status"] == "ok"

    with served(settings) as service:
        again = service.ask("/api/predict", {"model": "cancer", "rows": records})

        assert again["version"] == 2
        assert again["probabilities"] == answers[0]["probabilities"]
        assert service.ask("/api/train?state=succeeded")["jobs"][0]["result"]["version"] == 2
        assert service.ask(f"/api/datasets/{dataset['id']}")["fingerprint"] == dataset["fingerprint"]


def test_the_request_in_the_readme_gets_the_answer_in_the_readme(settings: Settings) -> None:
    """Also: the sample model is there after the first start, and the default."""
    shown = re.search(r"-d '(\{.*?\})'\n```\n\n```json\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    expected = json.loads(shown[2])

    with served(settings, "--sample") as service:
        places = ["--url", service.url, "--hub", f"ws://127.0.0.1:{settings.hub_port}/ws"]
        command = [QUADRA, "train", "iris", "--model", "iris", *places]
        ran = subprocess.run(command, capture_output=True, timeout=FOLLOWED_WITHIN)
        assert ran.returncode == 0, ran.stderr.decode()
        answer = service.ask("/api/predict", json.loads(shown[1]))
        jobs = service.ask("/api/train")["jobs"]
        for job in jobs:
            service.follow(job["id"])
        models = {model["name"] for model in service.ask("/api/models")["models"]}

    assert {**answer, "request_id": ""} == {
        **expected,
        "request_id": "",
        "probabilities": [pytest.approx(row, abs=1e-6) for row in expected["probabilities"]],
    }
    assert models == {"iris", settings.default_model}
