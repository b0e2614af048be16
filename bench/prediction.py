"""What one call of Inference costs beside the bare onnxruntime session and scikit-learn: CPU time, interleaved rounds.

Run: python bench/prediction.py [--rounds N] [--write]. Needs the extra ``service``; all three run in this process.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from quadra_matrix.clock import process_time
from quadra_matrix.service.models import skops
from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.onnxruntime import OnnxScorer
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import BuiltIn, TrainingRequest
from quadra_matrix.service.models.training import train
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels
from quadra_matrix.storage.sql.schema import all_tables

HERE = Path(__file__).parent
ESTIMATORS = ("linear", "random_forest", "hist_gradient_boosting", "mlp")
SIZES = (1, 32, 512)
BUDGET = 0.02
"""Seconds of one timing; the number of calls follows from it."""

Call = Callable[[], object]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    asked.add_argument("--write", action="store_true", help="write bench/results/prediction.json")
    given = asked.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        registry, rows = prepared(Path(folder))
        results = [
            {"estimator": name, "rows": size, **measured(calls(registry, name, rows[:size]), given.rounds)}
            for name in ESTIMATORS
            for size in SIZES
        ]
    print(table(results))
    if given.write:
        libraries = ("numpy", "onnxruntime", "scikit-learn")
        found = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "libraries": {name: version(name) for name in libraries},
            "unit": "microseconds of CPU for one call, median",
            "results": results,
        }
        (HERE / "results" / "prediction.json").write_text(json.dumps(found, indent=2) + "\n")


def prepared(folder: Path) -> tuple[Registry, list[list[float]]]:
    """Return a registry with a model of each estimator on breast cancer (30 features), and the rows."""
    database = Database(f"sqlite:///{folder / 'quadra.db'}")
    all_tables().create_all(database.engine)
    registry = Registry(SqlModels(database), folder / "models")
    data = Datasets(SqlDatasets(database), folder / "datasets")
    for name in ESTIMATORS:
        request = {"model": name, "data": {"source": "builtin", "name": "breast_cancer"}, "estimator": {"name": name}}
        train(TrainingRequest.model_validate(request), data=data, registry=registry, report=lambda progress: None)
    columns = data.load(BuiltIn(name="breast_cancer")).columns[:-1]
    return registry, np.column_stack([column.values for column in columns]).astype(float).tolist()


def calls(registry: Registry, name: str, rows: list[list[float]]) -> dict[str, Call]:
    """Return the three ways to ask one model about the same rows, given as lists as a request brings them."""
    found = registry.find(name)
    session = OnnxScorer(registry.read(found, "model.onnx"))._run
    original = skops.read(registry.read(found, "model.skops"))
    inference = Inference(registry)
    ready = np.array(rows)
    return {
        "onnxruntime": lambda: session(["probabilities"], {"numeric": ready}),
        "inference": lambda: inference.predict(name, rows),
        "scikit-learn": lambda: original.predict_proba(np.array(rows)),
    }


def measured(ways: dict[str, Call], rounds: int) -> dict[str, float]:
    """Return the median microseconds of one call in each way; the ways take turns, so that noise meets all."""
    counts = {name: calls_for(call) for name, call in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            times[name].append(timed(call, counts[name]) / counts[name] * 1e6)
    return {name: round(statistics.median(found), 1) for name, found in times.items()}


def calls_for(call: Call) -> int:
    call()
    return max(1, int(BUDGET / max(timed(call, 3) / 3, 1e-6)))


def timed(call: Call, times: int) -> float:
    started = process_time()
    for _ in range(times):
        call()
    return process_time() - started


def table(results: list[dict[str, object]]) -> str:
    """Return the results as a Markdown table."""
    names = ("onnxruntime", "inference", "scikit-learn")
    lines = [f"| estimator | rows | {' | '.join(names)} |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['estimator']} | {one['rows']} | {' | '.join(str(one[name]) for name in names)} |" for one in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
