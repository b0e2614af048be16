"""The body of ``POST /api/train``: what to train, on which data, how to judge it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from quadra_matrix.service.models.catalogue import Estimator, Linear
from quadra_matrix.store.models import Task

MAX_INLINE_ROWS = 100_000
MAX_COLUMNS = 2_000

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$", examples=["iris"])]
"""Of a model or an alias. It is also a folder name and part of addresses, hence the narrow alphabet."""

ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Cell = bool | int | FiniteFloat | Annotated[str, Field(max_length=10_000)] | None
"""One value of a table; null where it is missing."""


Cells = Annotated[list[Cell], Field(min_length=2, max_length=MAX_COLUMNS)]
_DISTINCT = {"uniqueItems": True}


def _not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("Input should be 0 or at least 2")
    return folds


class Wire(BaseModel):
    """Base of what arrives over HTTP: strict types, no unknown fields, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class BuiltIn(Wire):
    """A data set that ships with scikit-learn; its target column is called ``target``."""

    source: Literal["builtin"] = "builtin"
    name: Literal["breast_cancer", "iris", "wine", "diabetes"]


class Inline(Wire):
    """Columns and rows inside the request."""

    source: Literal["inline"] = "inline"
    columns: Annotated[list[ColumnName], Field(min_length=2, max_length=MAX_COLUMNS, json_schema_extra=_DISTINCT)]
    rows: Annotated[list[Cells], Field(min_length=1, max_length=MAX_INLINE_ROWS)]
    """Each row has a cell for each column."""

    @model_validator(mode="after")
    def _rectangular(self) -> Inline:
        """Refuse a column named twice, and rows of another length than the columns."""
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns holds a name twice")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"rows[{number}] has {len(row)} cells; columns names {len(self.columns)}")
        return self


class Uploaded(Wire):
    """A dataset sent to ``POST /api/datasets`` before."""

    source: Literal["dataset"] = "dataset"
    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9a-f-]+$")]


Data = Annotated[BuiltIn | Inline | Uploaded, Field(discriminator="source")]


class TrainingRequest(Wire):
    """Train an estimator on data and publish it as the next version of a model."""

    model: Name
    data: Data
    target: ColumnName = "target"
    """The column to predict."""
    features: (
        Annotated[list[ColumnName], Field(min_length=1, max_length=MAX_COLUMNS, json_schema_extra=_DISTINCT)] | None
    ) = None
    """The columns to predict from, the target not among them; all but the target when not given."""
    task: Task | None = Field(default=None, strict=False)
    """Inferred when not given: a target of categories, flags or at most 20 whole numbers is classification."""
    estimator: Estimator = Field(default_factory=Linear)  # a default written out here stops generated clients
    """The linear one when not given."""
    test_fraction: Annotated[FiniteFloat, Field(ge=0.05, le=0.5)] = 0.2
    """Part of the rows that is held out for the metrics."""
    folds: Annotated[int, Field(ge=0, le=20, json_schema_extra={"not": {"const": 1}}), AfterValidator(_not_one)] = 0
    """Folds of cross-validation over the training part; 0 for none, never 1."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> TrainingRequest:
        """Refuse a target among the features, and a feature named twice."""
        if self.features is not None and self.target in self.features:
            raise ValueError(f"features names the target {self.target!r}")
        if self.features is not None and len(set(self.features)) < len(self.features):
            raise ValueError("features holds a name twice")
        return self
