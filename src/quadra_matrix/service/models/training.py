"""Train a model: read, split, cross-validate, fit, measure, export, compare, publish."""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from quadra_matrix import __version__
from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models import check, steady
from quadra_matrix.service.models.catalogue import HistGradientBoosting, KNearest, RandomForest
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.selection import select
from quadra_matrix.service.models.values import DataSource, Examples, Inputs, Progress, Published, Report, Scorer, Table
from quadra_matrix.store.models import Engine, ModelVersion, OnnxCheck

Trees = RandomForest | HistGradientBoosting

ONNX_FILE, SKOPS_FILE = "model.onnx", "model.skops"

MOST_CHECKED_TRAINING_ROWS = 1_000
"""Training rows on which the export is compared beside the held-out ones: nearest neighbours err on known rows."""

PROBE_ROWS = {Engine.ONNX: 256, Engine.SKLEARN: 32}
"""Rows on which blocks are compared with single rows; scikit-learn takes milliseconds for each."""

LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "skops")


def train(
    request: TrainingRequest,
    *,
    data: DataSource,
    registry: Registry,
    report: Report,
    tolerance: float = check.TOLERANCE,
) -> Published:
    """Train, publish the next version of the model, and return it.

    Raises ``BadDataset`` or ``UnknownDataset``; nothing is published then. Warnings of scikit-learn, such as a fit
    that did not converge, are kept in the record. Not for several threads at once: it captures warnings.
    """
    from quadra_matrix.service.models.sklearn.pipeline import one_thread

    told = _Told(report)
    told.phase("loading", 0.0)
    table = data.load(request.data)
    examples = select(table, request)
    with warnings.catch_warnings(record=True) as caught, one_thread():
        warnings.simplefilter("always")
        fitted = _fit(request, examples, told)
        exported = _export(request, fitted, examples, told, tolerance)
    told.phase("publishing", 0.95)
    draft = _record(request, table, examples, fitted, exported, sorted({str(one.message) for one in caught}))
    published, aliases = registry.publish(draft, exported.files)
    told.phase("done", 1.0)
    return Published(published.model, published.version, published.metrics, published.engine, aliases)


@dataclass
class _Told:
    """Tells the watcher where the training stands, and remembers what was measured."""

    report: Report
    metrics: dict[str, float] = field(default_factory=dict)

    def phase(self, name: str, fraction: float) -> None:
        self.report(Progress(name, fraction, dict(self.metrics)))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A pipeline that learned, and how well."""

    pipeline: Any
    metrics: Mapping[str, float]
    train: Any
    held_out: Any


@dataclass(frozen=True, slots=True)
class _Exported:
    """The files of a version, and what serves."""

    files: Mapping[str, bytes]
    engine: Engine
    padding: int | None
    result: OnnxCheck


def _fit(request: TrainingRequest, examples: Examples, told: _Told) -> _Fitted:
    """Return the pipeline fitted on the training part and measured on the held-out part."""
    from quadra_matrix.service.models.sklearn import evaluation
    from quadra_matrix.service.models.sklearn.pipeline import SklearnScorer, matrix, pipeline

    train, held_out = evaluation.split(examples, request.test_fraction, request.seed)
    if request.folds:
        _cross_validate(request, examples, train, told)
    _enough_neighbours(request, len(train))
    told.phase("fitting", 0.5 if request.folds else 0.1)
    learned = pipeline(request.estimator, examples.task, examples.inputs, request.seed)
    learned.fit(matrix(examples.inputs.take(train)), examples.target[train])
    told.phase("evaluating", 0.8)
    scores = SklearnScorer(learned).scores(examples.inputs.take(held_out))
    told.metrics |= evaluation.measure(examples.task, examples.target[held_out], scores)
    return _Fitted(learned, dict(told.metrics), train, held_out)


def _cross_validate(request: TrainingRequest, examples: Examples, train: Any, told: _Told) -> None:
    """Fit and measure once for each fold; tell the mean so far after each."""
    from quadra_matrix.service.models.sklearn import evaluation
    from quadra_matrix.service.models.sklearn.pipeline import SklearnScorer, matrix, pipeline

    name = evaluation.headline(examples.task)
    found: list[float] = []
    for fold, (fit, measured) in enumerate(evaluation.folds(examples, train, request.folds, request.seed)):
        _enough_neighbours(request, len(fit))
        told.phase("cross-validating", 0.05 + 0.45 * fold / request.folds)
        learned = pipeline(request.estimator, examples.task, examples.inputs, request.seed)
        learned.fit(matrix(examples.inputs.take(fit)), examples.target[fit])
        scores = SklearnScorer(learned).scores(examples.inputs.take(measured))
        found.append(evaluation.measure(examples.task, examples.target[measured], scores)[name])
        told.metrics |= {f"cv_{name}": float(np.mean(found)), f"cv_{name}_std": float(np.std(found))}


def _enough_neighbours(request: TrainingRequest, rows: int) -> None:
    if isinstance(request.estimator, KNearest) and request.estimator.neighbors > rows:
        raise BadDataset(
            f"{request.estimator.neighbors} neighbors are asked for and {rows} rows to learn from are there"
        )


def _export(request: TrainingRequest, fitted: _Fitted, examples: Examples, told: _Told, tolerance: float) -> _Exported:
    """Return the files of both forms, and the choice of the one that serves."""
    from quadra_matrix.service.models import skops
    from quadra_matrix.service.models.sklearn.pipeline import SklearnScorer

    told.phase("exporting", 0.85)
    rows = np.concatenate([fitted.held_out, fitted.train[:MOST_CHECKED_TRAINING_ROWS]])
    checked = examples.inputs.take(rows)
    original = SklearnScorer(fitted.pipeline)
    files = {SKOPS_FILE: skops.dump(fitted.pipeline)}
    exported, result = _onnx(fitted.pipeline, original, checked, examples, tolerance)
    serving: Scorer = original
    if exported is not None:
        files[ONNX_FILE], scorer = exported
        serving = original if result.reason else scorer
    engine = Engine.SKLEARN if serving is original else Engine.ONNX
    # Trees add up one row at a time and need no padding; for the rest a probe that finds none needed proves little.
    candidates = (0, steady.PADDING) if isinstance(request.estimator, Trees) else (steady.PADDING,)
    probe = checked.take(slice(PROBE_ROWS[engine]))
    return _Exported(files, engine, steady.steady_padding(serving, probe, candidates), result)


def _onnx(
    pipeline: Any, original: Scorer, checked: Inputs, examples: Examples, tolerance: float
) -> tuple[tuple[bytes, Scorer] | None, OnnxCheck]:
    """Return the export with its scorer, None where there is no way to export, and how it compares."""
    from quadra_matrix.service.models import onnx
    from quadra_matrix.service.models.onnxruntime import OnnxScorer

    try:
        file = onnx.export(pipeline, checked.numeric.shape[1], checked.categorical.shape[1])
        scorer = OnnxScorer(file)
        scores = steady.scores(scorer, checked, steady.PADDING)
    except Exception as failed:  # noqa: BLE001  skl2onnx raises many kinds; the record keeps it, the original serves
        return None, check.not_exported(len(checked), f"{type(failed).__name__}: {failed}"[:300])
    spread = float(np.std(examples.target))
    truth = steady.scores(original, checked, 0)
    return (file, scorer), check.compare(examples.task, truth, scores, spread=spread, tolerance=tolerance)


def _record(
    request: TrainingRequest,
    table: Table,
    examples: Examples,
    fitted: _Fitted,
    exported: _Exported,
    remarks: list[str],
) -> ModelVersion:
    """Return everything that is kept of the training."""
    training = {
        "data": request.data.model_dump(mode="json", exclude={"rows", "columns"}) | {"name": table.name},
        "rows": len(fitted.train),
        "held_out_rows": len(fitted.held_out),
        "rows_without_target": examples.dropped,
        "test_fraction": request.test_fraction,
        "folds": request.folds,
        "seed": request.seed,
        "warnings": remarks,
    }
    return ModelVersion(
        model=request.model,
        version=0,
        task=examples.task,
        estimator=request.estimator.name,
        parameters=request.estimator.parameters,
        target=request.target,
        features=examples.features,
        classes=examples.classes,
        metrics=fitted.metrics,
        training=training,
        data_fingerprint=table.fingerprint,
        engine=exported.engine,
        padding=exported.padding,
        onnx=exported.result,
        files={name: hashlib.sha256(content).hexdigest() for name, content in exported.files.items()},
        libraries={
            "python": platform.python_version(),
            "quadra-matrix": __version__,
            **{name: version(name) for name in LIBRARIES},
        },
        created_at=0.0,
    )
