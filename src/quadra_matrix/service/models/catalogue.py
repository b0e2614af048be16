"""The estimators one may train and the bounds of every parameter; knows nothing of scikit-learn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat


class Choice(BaseModel):
    """Base of the entries: strict types, no unknown parameter, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters without the name."""
        return self.model_dump(exclude={"name"})


class Linear(Choice):
    """Logistic regression for labels, ridge regression for numbers."""

    name: Literal["linear"] = "linear"
    regularization: Annotated[FiniteFloat, Field(ge=1e-6, le=1e6)] = 1.0
    """Strength of the L2 penalty; more is smoother."""
    max_iterations: Annotated[int, Field(ge=10, le=10_000)] = 1_000


class RandomForest(Choice):
    """Many decision trees on random parts of the rows and columns."""

    name: Literal["random_forest"] = "random_forest"
    trees: Annotated[int, Field(ge=1, le=1_000)] = 100
    max_depth: Annotated[int, Field(ge=1, le=64)] | None = None
    """Levels of a tree; not limited when null."""
    min_rows_in_leaf: Annotated[int, Field(ge=1, le=10_000)] = 1
    features_per_split: Annotated[FiniteFloat, Field(gt=0, le=1)] | Literal["sqrt"] = "sqrt"
    """Part of the features tried at a split, or their square root."""


class HistGradientBoosting(Choice):
    """Trees that each mend the error of those before, over binned values."""

    name: Literal["hist_gradient_boosting"] = "hist_gradient_boosting"
    learning_rate: Annotated[FiniteFloat, Field(ge=1e-4, le=1)] = 0.1
    rounds: Annotated[int, Field(ge=1, le=2_000)] = 100
    max_leaves: Annotated[int, Field(ge=2, le=1_024)] = 31
    min_rows_in_leaf: Annotated[int, Field(ge=1, le=10_000)] = 20
    regularization: Annotated[FiniteFloat, Field(ge=0, le=1e6)] = 0.0
    """Strength of the L2 penalty on leaf values."""


class NeuralNetwork(Choice):
    """Fully connected layers (a multi-layer perceptron), trained by Adam."""

    name: Literal["mlp"] = "mlp"
    layers: Annotated[list[Annotated[int, Field(ge=1, le=1_024)]], Field(min_length=1, max_length=5)] = [100]
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "logistic"] = "relu"
    learning_rate: Annotated[FiniteFloat, Field(ge=1e-6, le=1)] = 1e-3
    regularization: Annotated[FiniteFloat, Field(ge=0, le=1e3)] = 1e-4
    """Strength of the L2 penalty."""
    max_iterations: Annotated[int, Field(ge=1, le=5_000)] = 200


class KNearest(Choice):
    """The labels or the mean of the nearest training rows, by Euclidean distance of scaled features."""

    name: Literal["k_nearest"] = "k_nearest"
    neighbors: Annotated[int, Field(ge=1, le=1_000)] = 5
    weights: Literal["uniform", "distance"] = "uniform"
    """Whether nearer rows count more."""


Estimator = Annotated[
    Linear | RandomForest | HistGradientBoosting | NeuralNetwork | KNearest, Field(discriminator="name")
]
"""One entry of the catalogue with its parameters."""
