"""Which columns can teach, what the task is, and which labels there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.selection import MOST_CATEGORIES, select
from quadra_matrix.service.models.values import Column, Examples, Table
from quadra_matrix.store.models import Kind, Task

ROWS = 12
X = Column("x", Kind.NUMBER, np.arange(ROWS, dtype=float))


def numbers(name: str, *values: float) -> Column:
    return Column(name, Kind.NUMBER, np.resize(np.array(values, dtype=float), ROWS))


def texts(name: str, *values: str) -> Column:
    return Column(name, Kind.CATEGORY, np.resize(np.array(values, dtype=object), ROWS))


def flags(name: str, *values: float) -> Column:
    return Column(name, Kind.FLAG, np.resize(np.array(values, dtype=float), ROWS))


def chosen(*columns: Column, **fields: Any) -> Examples:
    table = Table("t", "f", columns, len(columns[0].values))
    request = {"model": "m", "data": {"source": "builtin", "name": "iris"}, "target": "y", **fields}
    return select(table, TrainingRequest.model_validate(request))


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (numbers("y", 0, 1), Task.CLASSIFICATION, (0, 1)),
        (numbers("y", 0.5, 1), Task.REGRESSION, ()),
        (texts("y", "no", "yes"), Task.CLASSIFICATION, ("no", "yes")),
        (flags("y", 0, 1), Task.CLASSIFICATION, (False, True)),
    ],
)
def test_the_target_tells_the_task(target: Column, task: Task, classes: tuple[object, ...]) -> None:
    examples = chosen(X, target)

    assert (examples.task, examples.classes) == (task, classes)
    assert [type(label) for label in examples.classes] == [type(label) for label in classes]


def test_the_request_overrules_the_inferred_task() -> None:
    assert chosen(X, numbers("y", 0, 1), task="regression").task is Task.REGRESSION
    assert chosen(X, numbers("y", 0.5, 1.5), task="classification").classes == (0.5, 1.5)


def test_numbers_and_categories_become_two_matrices_in_the_order_of_the_features() -> None:
    examples = chosen(texts("c", "a", "b"), X, flags("f", 0, 1, np.nan), numbers("y", 0, 1))

    assert [feature.name for feature in examples.features] == ["c", "x", "f"]
    assert examples.inputs.numeric[:3].tolist()[1] == [1.0, 1.0]
    assert examples.inputs.categorical[:2].tolist() == [["a"], ["b"]]
    assert len(examples.inputs) == ROWS


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    target = numbers("y", *[0, 1] * 5, np.nan, np.nan)

    examples = chosen(X, target)

    assert (len(examples.target), examples.dropped, len(examples.inputs)) == (10, 2, 10)


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        (numbers("bad", 7), "same value"),
        (texts("bad", "same"), "same value"),
        (numbers("bad", np.nan), "no value"),
        (texts("bad", ""), "no value"),
        (numbers("bad", 1, np.inf), "infinity"),
    ],
)
def test_a_column_that_teaches_nothing_is_refused_by_name(column: Column, fault: str) -> None:
    with pytest.raises(BadDataset, match=fault) as refused:
        chosen(X, column, numbers("y", 0, 1))

    assert list(refused.value.columns) == ["bad"]


def test_a_column_with_one_value_and_gaps_teaches_by_its_gaps() -> None:
    assert len(chosen(X, numbers("gaps", 7, np.nan), numbers("y", 0, 1)).features) == 2


def test_a_bad_column_does_not_matter_where_the_features_leave_it_out() -> None:
    assert len(chosen(X, numbers("bad", 7), numbers("y", 0, 1), features=["x"]).features) == 1


def test_identifiers_are_refused() -> None:
    rows = MOST_CATEGORIES + 1
    table = (
        Column("id", Kind.CATEGORY, np.array([f"u{i}" for i in range(rows)], dtype=object)),
        Column("y", Kind.NUMBER, np.resize(np.array([0.0, 1.0]), rows)),
    )

    with pytest.raises(BadDataset, match="different texts"):
        chosen(*table)


@pytest.mark.parametrize(
    ("target", "fields", "fault"),
    [
        (texts("y", "same"), {}, "has one class: 'same'"),
        (numbers("y", 3), {"task": "classification"}, "has one class: 3"),
        (numbers("y", 3), {"task": "regression"}, "same value"),
        (texts("y", *"abbbbbbbbbbb"), {}, "single row: 'a'"),
        (texts("y", "a", "b"), {"task": "regression"}, "holds text"),
        (flags("y", 0, 1), {"task": "regression"}, "holds true and false"),
        (numbers("y", 0.5, np.inf), {"task": "regression"}, "infinity"),
        (numbers("y", 1, np.inf), {"task": "classification"}, "infinity"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused_by_name(
    target: Column, fields: dict[str, str], fault: str
) -> None:
    with pytest.raises(BadDataset, match=fault) as refused:
        chosen(X, target, **fields)

    assert list(refused.value.columns) == ["y"]


def test_too_many_classes_are_refused() -> None:
    rows = 402
    columns = (
        Column("x", Kind.NUMBER, np.arange(rows, dtype=float)),
        Column("y", Kind.NUMBER, np.repeat(np.arange(rows / 2), 2)),
    )

    with pytest.raises(BadDataset, match="201 classes"):
        chosen(*columns, task="classification")


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(BadDataset) as refused:
        chosen(X, features=["x", "nowhere"])

    assert sorted(refused.value.columns) == ["nowhere", "y"]


def test_a_target_alone_is_refused() -> None:
    with pytest.raises(BadDataset, match="no column beside the target"):
        chosen(numbers("y", 0, 1))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(BadDataset, match="9 rows have a target"):
        chosen(X, numbers("y", *[0, 1] * 4, 0, np.nan, np.nan, np.nan))
