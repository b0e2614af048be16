"""The tensors of the Open Inference Protocol v2: from its JSON and binary forms to a model's inputs, and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra_matrix.errors import BadRows
from quadra_matrix.service.models.inference import Label, Prediction
from quadra_matrix.service.models.values import Inputs
from quadra_matrix.store.models import Feature, Kind, ModelVersion

NUMERIC, CATEGORICAL = "numeric", "categorical"

NUMBERS: Mapping[str, str] = {
    "BOOL": "?",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT32": "<i4",
    "INT64": "<i8",
}
"""Data type of the protocol -> how NumPy reads its little-endian bytes."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor, its elements in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any]


def expected(features: Sequence[Feature]) -> dict[str, list[str]]:
    """Return the tensors a model takes: their names, and the features that their columns hold."""
    numeric = [feature.name for feature in features if feature.kind is not Kind.CATEGORY]
    categorical = [feature.name for feature in features if feature.kind is Kind.CATEGORY]
    return {name: names for name, names in ((NUMERIC, numeric), (CATEGORICAL, categorical)) if names}


def tensor(name: str, datatype: str, shape: Sequence[int], data: Sequence[Any] | bytes) -> Tensor:
    """Return a tensor of JSON elements (nested or flat) or of raw bytes. Raises ``BadRows`` naming the input."""
    if datatype != "BYTES" and datatype not in NUMBERS:
        raise BadRows({("inputs", name, "datatype"): f"is {datatype}; use one of BYTES, {', '.join(NUMBERS)}"})
    try:
        values = _from_bytes(datatype, data) if isinstance(data, bytes) else _from_json(datatype, _flat(data))
    except (ValueError, TypeError, OverflowError, struct.error, UnicodeDecodeError) as wrong:
        raise BadRows({("inputs", name, "data"): f"does not hold {datatype} elements"}) from wrong
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise BadRows({("inputs", name, "data"): f"has {len(values)} elements; the shape {list(shape)} has others"})
    return Tensor(name, datatype, tuple(shape), values)


def inputs_of(features: Sequence[Feature], tensors: Sequence[Tensor]) -> Inputs:
    """Return a model's inputs. Raises ``BadRows`` for a tensor that is missing, unknown or of another shape or type."""
    wanted, given = expected(features), {one.name: one for one in tensors}
    faults: dict[tuple[str | int, ...], str] = {
        ("inputs", name): "is not an input of the model" for name in given if name not in wanted
    }
    for name, columns in wanted.items():
        found = given.get(name)
        if found is None:
            faults["inputs", name] = "is missing"
        elif len(found.shape) != 2 or found.shape[1] != len(columns):
            faults["inputs", name, "shape"] = f"is {list(found.shape)}; the model takes [-1, {len(columns)}]"
        elif (found.datatype == "BYTES") != (name == CATEGORICAL):
            faults["inputs", name, "datatype"] = f"is {found.datatype}"
        elif name == NUMERIC and np.isinf(found.values).any():
            faults["inputs", name, "data"] = "holds infinity"
    if not faults and len({one.shape[0] for one in tensors}) > 1:
        faults["inputs",] = "have different numbers of rows"
    if faults:
        raise BadRows(faults)
    rows = tensors[0].shape[0]
    numeric = given[NUMERIC].values.astype(np.float64) if NUMERIC in given else np.empty(0)
    categorical = given[CATEGORICAL].values if CATEGORICAL in given else np.empty(0, dtype=object)
    return Inputs(
        numeric.reshape(rows, len(wanted.get(NUMERIC, ()))), categorical.reshape(rows, len(wanted.get(CATEGORICAL, ())))
    )


def outputs_of(version: ModelVersion) -> list[dict[str, Any]]:
    """Return the tensors that a model answers, as its metadata lists them."""
    predictions = {"name": "predictions", "datatype": _datatype(version.classes), "shape": [-1]}
    if not version.classes:
        return [predictions]
    return [predictions, {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(version.classes)]}]


def answered(prediction: Prediction) -> list[dict[str, Any]]:
    """Return a prediction as tensors in JSON form."""
    rows = len(prediction.predictions)
    datatype = _datatype(prediction.classes)
    outputs = [{"name": "predictions", "datatype": datatype, "shape": [rows], "data": prediction.predictions}]
    if prediction.probabilities is not None:
        flat = [value for line in prediction.probabilities for value in line]
        shape = [rows, len(prediction.classes)]
        outputs.append({"name": "probabilities", "datatype": "FP64", "shape": shape, "data": flat})
    return outputs


def _datatype(classes: Sequence[Label]) -> str:
    """Return the data type of a model's predictions."""
    kinds = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
    found = {kinds[type(label)] for label in classes} or {"FP64"}
    return found.pop() if len(found) == 1 else "FP64"  # whole and broken numbers side by side


def _flat(data: Sequence[Any]) -> list[Any]:
    """Return the elements of nested lists in row-major order; the protocol allows at most the nesting of the shape."""
    flat = list(data)
    while any(isinstance(part, list) for part in flat):
        flat = [element for part in flat for element in (part if isinstance(part, list) else [part])]
    return flat


def _from_json(datatype: str, elements: list[Any]) -> NDArray[Any]:
    """Return elements that came as JSON; text is never read as a number, nor a number as text."""
    if datatype == "BYTES":
        if not all(isinstance(element, str) for element in elements):
            raise TypeError(datatype)
        return np.array(elements, dtype=object)
    allowed: dict[str, set[type]] = {"BOOL": {bool}, "INT32": {int}, "INT64": {int}}
    if not allowed.get(datatype, {int, float}).issuperset(map(type, elements)):
        raise TypeError(datatype)
    return np.array(elements, dtype=NUMBERS[datatype])


def _from_bytes(datatype: str, raw: bytes) -> NDArray[Any]:
    """Return elements that came in binary: plain little-endian, or for BYTES each after its 4-byte length."""
    if datatype != "BYTES":
        return np.frombuffer(raw, dtype=NUMBERS[datatype])
    texts, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4 + length
        if at > len(raw):
            raise ValueError(length)
        texts.append(raw[at - length : at].decode())
    return np.array(texts, dtype=object)
