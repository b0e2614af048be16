"""Choose task, features and labels from a table; refuse the columns that nothing can be learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.values import Column, Examples, Inputs, Table
from quadra_matrix.store.models import Feature, Kind, Task

FEWEST_ROWS = 10
"""Below this a held-out part says nothing."""

MOST_INFERRED_LABELS = 20
"""A column of at most this many different whole numbers is taken for labels when the request does not say."""

MOST_LABELS = 200
MOST_CATEGORIES = 1_000
"""A text column with more different values is most likely an identifier or prose."""


def select(table: Table, request: TrainingRequest) -> Examples:
    """Return the rows to learn from. Raises ``BadDataset`` with every column at fault."""
    target, features = _chosen(table, request)
    present = _present(target)
    if present.sum() < FEWEST_ROWS:
        raise BadDataset(f"{present.sum()} rows have a target; training needs {FEWEST_ROWS}")
    kept = Column(target.name, target.kind, target.values[present])
    features = [Column(column.name, column.kind, column.values[present]) for column in features]
    _refuse({column.name: fault for column in features if (fault := _feature_fault(column))})
    task = request.task or _inferred(kept)
    values, classes = _labels(kept) if task is Task.CLASSIFICATION else (_numbers(kept), ())
    return Examples(
        task=task,
        features=tuple(Feature(column.name, column.kind) for column in features),
        inputs=_inputs(features, len(values)),
        target=values,
        classes=classes,
        dropped=int(table.rows - len(values)),
    )


def _chosen(table: Table, request: TrainingRequest) -> tuple[Column, list[Column]]:
    """Return the target and the features that the request names; by default every other column is one."""
    names = [column.name for column in table.columns if column.name != request.target]
    names = names if request.features is None else request.features
    found = {name: table.column(name) for name in [request.target, *names]}
    _refuse({name: "is not a column of the data" for name, column in found.items() if column is None})
    columns = [column for column in found.values() if column is not None]
    if len(columns) < 2:
        raise BadDataset("the data has no column beside the target")
    return columns[0], columns[1:]


def _refuse(faults: dict[str, str]) -> None:
    if faults:
        raise BadDataset("training cannot use these columns; name the others in features", faults)


def _present(column: Column) -> NDArray[np.bool_]:
    """Return which cells hold a value."""
    present: NDArray[np.bool_] = column.values != "" if column.kind is Kind.CATEGORY else ~np.isnan(column.values)
    return present


def _feature_fault(column: Column) -> str | None:
    """Return why nothing can be learned from a column, or None."""
    present = column.values[_present(column)]
    if not len(present):
        return "has no value in any row"
    if column.kind is not Kind.CATEGORY and np.isinf(present).any():
        return "holds infinity"
    distinct = len(set(present.tolist()))
    if distinct == 1 and len(present) == len(column.values):
        return "has the same value in every row"
    if column.kind is Kind.CATEGORY and distinct > MOST_CATEGORIES:
        return f"holds {distinct} different texts; at most {MOST_CATEGORIES} are taken as categories"
    return None


def _inferred(target: Column) -> Task:
    if target.kind is not Kind.NUMBER:
        return Task.CLASSIFICATION
    whole = bool((target.values == np.floor(target.values)).all())
    few = len(np.unique(target.values)) <= MOST_INFERRED_LABELS
    return Task.CLASSIFICATION if whole and few else Task.REGRESSION


def _labels(target: Column) -> tuple[NDArray[np.int64], tuple[str | int | float | bool, ...]]:
    """Return each row's index into the sorted labels, and the labels."""
    labels, codes, counts = np.unique(target.values.tolist(), return_inverse=True, return_counts=True)
    fault = None
    if target.kind is Kind.NUMBER and np.isinf(target.values).any():
        fault = "holds infinity"
    elif len(labels) == 1:
        fault = f"has one class: {_label(labels[0].item(), target.kind)!r}"
    elif len(labels) > MOST_LABELS:
        fault = f"has {len(labels)} classes; at most {MOST_LABELS} can be learned"
    elif counts.min() < 2:
        rare = [_label(label.item(), target.kind) for label in labels[counts < 2][:5]]
        fault = f"has classes with a single row: {', '.join(map(repr, rare))}"
    if fault:
        raise BadDataset("training cannot predict this column", {target.name: fault})
    return codes.astype(np.int64), tuple(_label(label.item(), target.kind) for label in labels)


def _label(value: Any, kind: Kind) -> str | int | float | bool:
    """Return a label as the user wrote it: 1.0 of a column of whole numbers was 1."""
    if kind is Kind.FLAG:
        return bool(value)
    if kind is Kind.NUMBER and value == int(value):
        return int(value)
    return str(value) if kind is Kind.CATEGORY else float(value)


def _numbers(target: Column) -> NDArray[np.float64]:
    fault = None
    if target.kind is not Kind.NUMBER:
        fault = f"holds {'text' if target.kind is Kind.CATEGORY else 'true and false'}; a regression predicts numbers"
    elif np.isinf(target.values).any():
        fault = "holds infinity"
    elif target.values.min() == target.values.max():
        fault = "has the same value in every row"
    if fault:
        raise BadDataset("training cannot predict this column", {target.name: fault})
    return target.values


def _inputs(features: list[Column], rows: int) -> Inputs:
    """Return the two matrices of a model's inputs, each in the order of the features."""
    numeric = [column.values for column in features if column.kind is not Kind.CATEGORY]
    categorical = [column.values for column in features if column.kind is Kind.CATEGORY]
    return Inputs(
        np.column_stack(numeric) if numeric else np.empty((rows, 0)),
        np.column_stack(categorical) if categorical else np.empty((rows, 0), dtype=object),
    )
