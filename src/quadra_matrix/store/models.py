"""Datasets, model versions and aliases: what is kept of them, and the two stores that keep it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol


class Kind(enum.StrEnum):
    """What the cells of a column are."""

    NUMBER = "number"
    CATEGORY = "category"
    FLAG = "flag"


class Task(enum.StrEnum):
    """What a model predicts: one of a few labels, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Engine(enum.StrEnum):
    """What answers predictions: the ONNX export, or the scikit-learn original where the export is not faithful."""

    ONNX = "onnx"
    SKLEARN = "sklearn"


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a dataset as it was found."""

    name: str
    kind: Kind
    missing: int
    """Cells without a value."""
    distinct: int
    """Different values, not counting missing ones."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """An uploaded table."""

    id: str
    name: str
    format: str
    """``csv`` or ``parquet``."""
    rows: int
    size: int
    """Bytes on disk."""
    fingerprint: str
    """SHA-256 of the uploaded bytes, as hex digits."""
    columns: tuple[ColumnSummary, ...]
    created_at: float


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model, in the order the model takes it."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class OnnxCheck:
    """How far the ONNX export is from the scikit-learn original, measured on all held-out and some training rows."""

    rows: int
    max_difference: float | None
    """Largest absolute difference of probabilities; for a regression relative to the spread of the target. None
    where there is no export."""
    label_flips: int
    """Rows whose most probable label differs."""
    reason: str = ""
    """Why the original serves; empty where the export does."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One published model: everything that tells where it came from and what it takes."""

    model: str
    version: int
    """Counts from 1 for each model; 0 before publication."""
    task: Task
    estimator: str
    parameters: Mapping[str, Any]
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str | int | float | bool, ...]
    """Labels in the order of the probabilities; empty for a regression."""
    metrics: Mapping[str, float]
    """Measured on the held-out rows; ``cv_...`` are mean and standard deviation over the folds."""
    training: Mapping[str, Any]
    """Rows, seed, test fraction, folds, and the name of the data."""
    data_fingerprint: str
    engine: Engine
    padding: int | None
    """Rows to score after the real ones so that a row's result does not depend on its neighbours; None scores each
    row alone."""
    onnx: OnnxCheck
    files: Mapping[str, str]
    """File name -> SHA-256 of its bytes."""
    libraries: Mapping[str, str]
    """Name -> version, of this package and of what it computed with."""
    created_at: float

    def numbered(self, version: int) -> ModelVersion:
        """Return the same model as version ``version``."""
        return replace(self, version=version)

    def created(self, now: float) -> ModelVersion:
        """Return the same model with the time of its publication."""
        return replace(self, created_at=now)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points at one version of a model."""

    model: str
    alias: str
    version: int
    moved_at: float


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every model with its versions and aliases, read in one transaction."""

    versions: Mapping[str, Mapping[int, ModelVersion]]
    """Model -> number -> version, ascending."""
    aliases: Mapping[str, Mapping[str, int]]
    """Model -> alias -> version."""


class DatasetStore(Protocol):
    """Where uploaded tables are recorded. May be shared between threads and processes."""

    def add(self, dataset: Dataset) -> None:
        """Record a new dataset."""

    def get(self, id: str) -> Dataset | None:  # noqa: A002  the word users see
        """Return one dataset, or None."""

    def all(self) -> list[Dataset]:
        """Return every dataset, newest first."""

    def remove(self, id: str) -> bool:  # noqa: A002
        """Forget a dataset; tell whether it was there."""


class ModelStore(Protocol):
    """Where versions and aliases are recorded. May be shared between threads and processes."""

    def publish(self, draft: ModelVersion, aliases: Mapping[str, bool], place: Callable[[int], None]) -> ModelVersion:
        """Number ``draft`` and record it with its aliases in one transaction, and return it.

        ``place`` is called with the number inside the transaction; if it raises nothing is recorded. ``aliases``
        tells for each name whether it moves to the new version even when it already points somewhere.
        """

    def catalogue(self, known: Catalogue) -> Catalogue:
        """Return every version and alias as of one moment; versions that are ``known`` are not read again."""

    def move(self, alias: Alias) -> bool:
        """Point an alias at a version, making it if needed; tell whether that version exists."""
