"""A client that somebody else's generator writes from the service's document trains, waits and predicts."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from quadra_matrix.service.settings import Settings
from tests.service.test_main_job import FOLLOWED_WITHIN, Service, served
from tests.services.process import free_port, wait_until

PAGE = Path(__file__).parents[2] / "docs/how-to/api.md"
OVER = {"succeeded", "failed", "cancelled", "interrupted"}


def generated(service: Service, document: str, folder: Path) -> ModuleType:
    """Return the client that the generator writes with the options that the documentation shows."""
    name = f"client_{document.count('.')}"
    shown = re.search(r"```yaml\n(content_type_overrides:.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    options = folder / "client.yaml"
    options.write_text(shown[1])
    programs = Path(sys.executable).parent
    done = subprocess.run(
        [
            *(programs / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--url", f"{service.url}/api/{document}", "--output-path", folder / name, "--config", options),
        ],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return importlib.import_module(name)


def train_wait_predict(package: ModuleType, service: Service) -> None:
    """Do it all by the client."""

    def part(name: str) -> ModuleType:
        return importlib.import_module(f"{package.__name__}.{name}")

    models = part("models")
    asked = models.TrainingRequest.from_dict({"model": "iris", "data": {"source": "builtin", "name": "iris"}})
    with package.Client(service.url) as client:
        job = part("api.train.train_train").sync(client=client, body=asked)

        def is_over() -> bool:
            return part("api.train.train_shown").sync(job=job.id, client=client).state in OVER

        wait_until(is_over, "the training", FOLLOWED_WITHIN)
        job = part("api.train.train_shown").sync(job=job.id, client=client)
        rows = models.InferenceRequest(rows=[[5.1, 3.5, 1.4, 0.2]], model="iris", version=job.result["version"])
        answer = part("api.predict.predict_predict").sync(client=client, body=rows)
        lost = part("api.models.models_shown").sync(model="tulip", client=client)

    assert job.state == "succeeded"
    assert answer.predictions == ["setosa"]
    assert lost.type_ == "urn:quadra-matrix:problem:unknown-model"


@pytest.mark.slow
def test_generated_clients_train_wait_and_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=free_port(), hub_port=free_port(), default_model="iris")
    monkeypatch.syspath_prepend(tmp_path)

    with served(settings, "--sample") as service:
        for document in ("openapi.json", "openapi-3.1.json"):
            train_wait_predict(generated(service, document, tmp_path), service)
