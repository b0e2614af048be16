"""Build the pipeline of a catalogue entry: preprocessing and estimator in one object, so that they travel together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from quadra_matrix.service.models.catalogue import (
    Choice,
    HistGradientBoosting,
    KNearest,
    Linear,
    NeuralNetwork,
    RandomForest,
)
from quadra_matrix.service.models.values import Floats, Inputs
from quadra_matrix.store.models import Task


def pipeline(choice: Choice, task: Task, inputs: Inputs, seed: int) -> Pipeline:
    """Return an unfitted pipeline for inputs of this shape.

    Numbers: a missing one becomes the median, and all are scaled where the estimator measures distances or weights.
    Boosted trees take missing numbers as they are. Categories become one column each; an unknown one is all zeros.
    """
    estimator = BUILDERS[type(choice)](choice, task is Task.CLASSIFICATION, seed)
    numbers, categories = inputs.numeric.shape[1], inputs.categorical.shape[1]
    numeric = _numeric_steps(choice)
    if not categories:
        return Pipeline([*numeric, ("estimator", estimator)])
    # dtype object holds both kinds of columns; the encoder keeps float64 so that what follows is one matrix.
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float64)
    parts: list[tuple[str, Any, list[int]]] = [("categories", encoder, list(range(numbers, numbers + categories)))]
    if numbers:
        parts.insert(0, ("numbers", Pipeline(numeric) if numeric else "passthrough", list(range(numbers))))
    return Pipeline([("columns", ColumnTransformer(parts)), ("estimator", estimator)])


def matrix(inputs: Inputs) -> NDArray[Any]:
    """Return the inputs as the one matrix that scikit-learn takes."""
    if not inputs.categorical.shape[1]:
        return inputs.numeric
    return np.hstack([inputs.numeric.astype(object), inputs.categorical])


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which numeric libraries use one thread.

    Jobs run beside each other and beside the HTTP workers: threads that spin for a core slow all of them, boosted
    trees by a factor of ten and more. It also makes a training repeat exactly.
    """
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


class SklearnScorer:
    """A ``Scorer`` over a fitted pipeline."""

    def __init__(self, fitted: Pipeline) -> None:
        self._fitted = fitted
        self._classifies = hasattr(fitted, "predict_proba")

    def scores(self, inputs: Inputs) -> Floats:
        """Return probabilities, or the numbers of a regression as one column."""
        rows = matrix(inputs)
        if self._classifies:
            return np.asarray(self._fitted.predict_proba(rows), dtype=np.float64)
        return np.asarray(self._fitted.predict(rows), dtype=np.float64).reshape(-1, 1)


def _numeric_steps(choice: Choice) -> list[tuple[str, Any]]:
    if isinstance(choice, HistGradientBoosting):
        return []
    impute = ("impute", SimpleImputer(strategy="median", keep_empty_features=True))
    return [impute] if isinstance(choice, RandomForest) else [impute, ("scale", StandardScaler())]


def _linear(chosen: Linear, classify: bool, seed: int) -> Any:
    if not classify:
        return Ridge(alpha=chosen.regularization)
    return LogisticRegression(C=1 / chosen.regularization, max_iter=chosen.max_iterations, random_state=seed)


def _random_forest(chosen: RandomForest, classify: bool, seed: int) -> Any:
    return (RandomForestClassifier if classify else RandomForestRegressor)(
        n_estimators=chosen.trees,
        max_depth=chosen.max_depth,
        min_samples_leaf=chosen.min_rows_in_leaf,
        max_features=chosen.features_per_split,
        random_state=seed,
    )


def _boosting(chosen: HistGradientBoosting, classify: bool, seed: int) -> Any:
    return (HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor)(
        learning_rate=chosen.learning_rate,
        max_iter=chosen.rounds,
        max_leaf_nodes=chosen.max_leaves,
        min_samples_leaf=chosen.min_rows_in_leaf,
        l2_regularization=chosen.regularization,
        early_stopping=False,
        random_state=seed,
    )


def _neural_network(chosen: NeuralNetwork, classify: bool, seed: int) -> Any:
    return (MLPClassifier if classify else MLPRegressor)(
        hidden_layer_sizes=tuple(chosen.layers),
        activation=chosen.activation,
        learning_rate_init=chosen.learning_rate,
        alpha=chosen.regularization,
        max_iter=chosen.max_iterations,
        random_state=seed,
    )


def _k_nearest(chosen: KNearest, classify: bool, seed: int) -> Any:
    # Brute force, as the ONNX export computes it; a tree would also have to be trusted when it is read back.
    return (KNeighborsClassifier if classify else KNeighborsRegressor)(
        n_neighbors=chosen.neighbors, weights=chosen.weights, algorithm="brute"
    )


BUILDERS: dict[type[Choice], Callable[[Any, bool, int], Any]] = {
    Linear: _linear,
    RandomForest: _random_forest,
    HistGradientBoosting: _boosting,
    NeuralNetwork: _neural_network,
    KNearest: _k_nearest,
}
