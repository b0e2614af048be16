"""Tensors of the open protocol fit the model, or the input at fault is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quadra_matrix.errors import BadRows
from quadra_matrix.service.models import tensors
from quadra_matrix.service.models.inference import Prediction
from quadra_matrix.store.models import Feature, Kind
from tests.service.models.test_registry import draft

FEATURES = (Feature("age", Kind.NUMBER), Feature("city", Kind.CATEGORY), Feature("member", Kind.FLAG))


def numeric(*values: float, shape: tuple[int, ...] = (1, 2)) -> tensors.Tensor:
    return tensors.Tensor("numeric", "FP64", shape, np.array(values))


def cities(*values: str) -> tensors.Tensor:
    return tensors.Tensor("categorical", "BYTES", (len(values), 1), np.array(values, dtype=object))


def test_tensors_become_the_inputs_of_a_model() -> None:
    inputs = tensors.inputs_of(FEATURES, [cities("Oslo", "Rome"), numeric(1, 0, 2, 1, shape=(2, 2))])

    assert inputs.numeric.tolist() == [[1, 0], [2, 1]]
    assert inputs.categorical.tolist() == [["Oslo"], ["Rome"]]


def test_a_model_of_one_kind_takes_one_tensor() -> None:
    assert tensors.inputs_of(FEATURES[:1], [numeric(1, 2, shape=(2, 1))]).categorical.shape == (2, 0)
    assert tensors.inputs_of(FEATURES[1:2], [cities("Oslo")]).numeric.shape == (1, 0)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ([numeric(1, 0)], ("inputs", "categorical")),
        ([numeric(np.inf, 0), cities("Oslo")], ("inputs", "numeric", "data")),
        ([numeric(1, 0), cities("Oslo", "Rome")], ("inputs",)),
        (
            [tensors.Tensor("numeric", "BYTES", (1, 2), np.array(["1", "2"])), cities("x")],
            ("inputs", "numeric", "datatype"),
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(given: list[tensors.Tensor], place: tuple[str, ...]) -> None:
    with pytest.raises(BadRows) as refused:
        tensors.inputs_of(FEATURES, given)

    assert place in refused.value.places


@pytest.mark.parametrize(
    ("datatype", "data", "values"),
    [
        ("BOOL", [True, False], [True, False]),
        ("INT32", b"\x01\x00\x00\x00\xff\xff\xff\xff", [1, -1]),
        ("FP64", [1, 2.5], [1.0, 2.5]),
        ("BYTES", b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xa9", ["a", "é"]),
    ],
)
def test_elements_come_as_json_or_as_bytes(datatype: str, data: Any, values: list[Any]) -> None:
    assert tensors.tensor("t", datatype, [2], data).values.tolist() == values


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BYTES", [1, 2]),
        ("BOOL", [1, 0]),
        ("INT64", [2**70, 1]),
        ("FP64", b"\x00" * 9),
        ("BYTES", b"\x01\x00"),
        ("BYTES", b"\x01\x00\x00\x00\xff\x00\x00\x00\x00"),
    ],
)
def test_elements_of_another_type_are_refused(datatype: str, data: Any) -> None:
    with pytest.raises(BadRows, match=f"does not hold {datatype}"):
        tensors.tensor("t", datatype, [2], data)


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [((), "FP64"), ((False, True), "BOOL"), ((0, 1), "INT64"), ((1, 2.5), "FP64"), (("a", "b"), "BYTES")],
)
def test_predictions_have_the_type_of_the_labels(classes: tuple[Any, ...], datatype: str) -> None:
    assert tensors.outputs_of(draft(classes=classes))[0]["datatype"] == datatype


def test_a_regression_answers_one_tensor() -> None:
    answered = tensors.answered(Prediction("m", 1, [1.5, 2.5], None, ()))

    assert answered == [{"name": "predictions", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5]}]
    assert len(tensors.outputs_of(draft(classes=()))) == 1
