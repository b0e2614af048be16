"""Split rows, cross-validate, and measure a fitted pipeline on rows it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.values import Examples, Floats
from quadra_matrix.store.models import Task

Rows = NDArray[np.intp]


def split(examples: Examples, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to train on and the rows held out; labels keep their proportions in both."""
    rows = np.arange(len(examples.inputs))
    held_out = max(1, round(len(rows) * fraction))
    classes = len(examples.classes)
    if min(held_out, len(rows) - held_out) < classes:
        raise BadDataset(f"{held_out} held-out of {len(rows)} rows cannot hold each of the {classes} classes")
    stratify = examples.target if classes else None
    train, test = train_test_split(rows, test_size=held_out, random_state=seed, stratify=stratify)
    return train, test


def folds(examples: Examples, train: Rows, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield for each fold the rows to fit on and the rows to measure on."""
    if len(train) < count:
        raise BadDataset(f"{len(train)} training rows cannot make {count} folds")
    if not examples.classes:
        parts = KFold(count, shuffle=True, random_state=seed).split(train)
    else:
        rarest = int(np.bincount(examples.target[train], minlength=len(examples.classes)).argmin())
        rows = int((examples.target[train] == rarest).sum())
        if rows < count:
            raise BadDataset(f"class {examples.classes[rarest]!r} has {rows} training rows, too few for {count} folds")
        parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(train, examples.target[train])
    return ((train[fit], train[measure]) for fit, measure in parts)


def measure(task: Task, truth: NDArray[Any], scores: Floats) -> dict[str, float]:
    """Return the metrics of scores beside the truth. Every metric is finite or left out."""
    found = _of_labels(truth, scores) if task is Task.CLASSIFICATION else _of_numbers(truth, scores[:, 0])
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def headline(task: Task) -> str:
    """Return the metric that progress shows."""
    return "accuracy" if task is Task.CLASSIFICATION else "r2"


def _of_labels(truth: NDArray[Any], scores: Floats) -> dict[str, Any]:
    labels = np.arange(scores.shape[1])
    guess = scores.argmax(axis=1)
    found = {
        "accuracy": metrics.accuracy_score(truth, guess),
        "f1_macro": metrics.f1_score(truth, guess, labels=labels, average="macro", zero_division=0),
        "log_loss": metrics.log_loss(truth, scores, labels=labels),
    }
    if len(np.unique(truth)) == len(labels):  # undefined where a class is absent
        shown = scores[:, 1] if len(labels) == 2 else scores
        found["roc_auc"] = metrics.roc_auc_score(truth, shown, multi_class="ovr", labels=labels)
    return found


def _of_numbers(truth: NDArray[Any], guess: Floats) -> dict[str, Any]:
    found = {
        "mean_absolute_error": metrics.mean_absolute_error(truth, guess),
        "root_mean_squared_error": metrics.root_mean_squared_error(truth, guess),
    }
    if len(truth) > 1:  # undefined for a single row
        found["r2"] = metrics.r2_score(truth, guess)
    return found
