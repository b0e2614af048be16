"""Export a fitted scikit-learn pipeline to ONNX, in double precision throughout.

In single precision a time stamp loses minutes and a probability of 0.9999999988 becomes 1. skl2onnx alone does not
carry double precision through imputation and trees, so the converters of those are replaced or wrapped here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_classifier,
    convert_sklearn_random_forest_regressor_converter,
)

NUMERIC, CATEGORICAL = "numeric", "categorical"
"""Names of the two inputs; a model without such columns lacks the input."""

TREES_IN_DOUBLE = 3
"""The first version of the tree operators (of the domain ai.onnx.ml) that holds thresholds in double precision."""


def export(fitted: Any, numbers: int, categories: int) -> bytes:
    """Return the ONNX model of a fitted pipeline that takes so many numbers and categories.

    Raises what skl2onnx raises where it knows no way to express the pipeline.
    """
    inputs: list[tuple[str, Any]] = []
    if numbers:
        inputs.append((NUMERIC, DoubleTensorType([None, numbers])))
    if categories:
        inputs.append((CATEGORICAL, StringTensorType([None, categories])))
    estimator = fitted.steps[-1][1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside skl2onnx; the result is compared with the original
        model = convert_sklearn(
            fitted,
            initial_types=inputs,
            options={id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None,
            custom_conversion_functions={kind: CONVERTERS[kind.__name__] for kind in _kinds(fitted)},
        )
    exported: bytes = model.SerializeToString()
    return exported


def _kinds(fitted: Any) -> Iterable[type]:
    """Return the types inside the pipeline that need a converter of ours."""
    steps = [step for _, step in fitted.steps]
    for part in list(steps):
        steps += [inner for _, transformer, _ in getattr(part, "transformers_", []) for inner in _inner(transformer)]
    return {type(step) for step in steps if type(step).__name__ in CONVERTERS}


def _inner(transformer: Any) -> list[Any]:
    return [step for _, step in transformer.steps] if hasattr(transformer, "steps") else [transformer]


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Replace NaN by the fitted medians. ONNX's own Imputer has no double precision in onnxruntime."""
    medians = np.nan_to_num(operator.raw_operator.statistics_).astype(np.float64)
    fill, missing = scope.get_unique_variable_name("fill"), scope.get_unique_variable_name("missing")
    values = operator.inputs[0].full_name
    container.add_initializer(fill, TensorProto.DOUBLE, [1, len(medians)], medians.tolist())
    container.add_node("IsNaN", [values], [missing], name=scope.get_unique_operator_name("IsNaN"))
    container.add_node(
        "Where", [missing, fill, values], [operator.outputs[0].full_name], name=scope.get_unique_operator_name("Where")
    )


def _convert_tree_classifier(scope: Any, operator: Any, container: Any) -> None:
    exact = _DoubleTrees(operator, container, scope)
    convert_sklearn_random_forest_classifier(scope, operator, exact, op_version=TREES_IN_DOUBLE)


def _convert_tree_regressor(scope: Any, operator: Any, container: Any) -> None:
    exact = _DoubleTrees(operator, container, scope)
    convert_sklearn_random_forest_regressor_converter(scope, operator, exact, op_version=TREES_IN_DOUBLE)


CONVERTERS: dict[str, Callable[..., None]] = {
    "SimpleImputer": _convert_imputer,
    "RandomForestClassifier": _convert_tree_classifier,
    "RandomForestRegressor": _convert_tree_regressor,
    "HistGradientBoostingClassifier": _convert_tree_classifier,
    "HistGradientBoostingRegressor": _convert_tree_regressor,
}
"""scikit-learn class -> the converter that keeps double precision."""


class _DoubleTrees:
    """A container of nodes that writes the numbers of tree operators as double tensors."""

    def __init__(self, operator: Any, container: Any, scope: Any) -> None:
        self._container, self._scope = container, scope
        self._promises_double = isinstance(operator.outputs[-1].type, DoubleTensorType)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
        """Add a tree operator with exact numbers; its scores are single precision and cast where double is promised."""
        if not op_type.startswith("TreeEnsemble"):
            self._container.add_node(op_type, inputs, outputs, **attributes)
            return
        attributes.pop("nodes_hitrates", None)
        for name in ("nodes_values", "class_weights", "target_weights", "base_values"):
            if name in attributes:
                exact = np.asarray(attributes.pop(name), dtype=np.float64).ravel()
                attributes[f"{name}_as_tensor"] = numpy_helper.from_array(exact, name)
        # skl2onnx writes False into this list of integers, which protobuf 7 refuses.
        tracks = "nodes_missing_value_tracks_true"
        attributes[tracks] = [int(value) for value in attributes[tracks]]
        if not self._promises_double:
            self._container.add_node(op_type, inputs, outputs, **attributes)
            return
        *before, promised = [outputs] if isinstance(outputs, str) else list(outputs)
        single = self._scope.get_unique_variable_name("single")
        self._container.add_node(op_type, inputs, [*before, single], **attributes)
        cast = self._scope.get_unique_operator_name("Cast")
        self._container.add_node("Cast", [single], [promised], to=TensorProto.DOUBLE, op_version=13, name=cast)
