"""Answer predictions from warm models."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BadRows, BrokenModel, QuadraError
from quadra_matrix.events import Hook, ignore
from quadra_matrix.events.models import Predicted
from quadra_matrix.service.models import steady
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.rows import MOST_FAULTS, Row, RowReader
from quadra_matrix.service.models.values import Floats, Inputs, Scorer
from quadra_matrix.store.models import Engine, Kind, ModelVersion, Task

Label = str | int | float | bool

MOST_WARM = 16
"""Versions kept in memory by one process; the one used longest ago makes room."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a version answers for some rows, in their order."""

    model: str
    version: int
    predictions: list[Label]
    """Labels, or the numbers of a regression."""
    probabilities: list[list[float]] | None
    """For each row one for each class; None for a regression."""
    classes: tuple[Label, ...]


class WarmModel:
    """One version in memory, ready to answer. May be shared between threads."""

    def __init__(self, version: ModelVersion, scorer: Scorer) -> None:
        self.version = version
        self._scorer, self._padding = scorer, version.padding
        self._reader = RowReader(version.features)
        self._classifies = version.task is Task.CLASSIFICATION

    def predict(self, rows: Sequence[Row]) -> Prediction:
        """Return what the model says of each row. Raises ``BadRows``."""
        return self.answer(self.scores(self._reader.read(rows)))

    def scores(self, inputs: Inputs) -> Floats:
        """Return the scores of inputs that are in the model's order already.

        Raises ``BadRows`` for rows so extreme that the model's arithmetic overflows.
        """
        scores = steady.scores(self._scorer, inputs, self._padding)
        if not np.isfinite(scores).all():
            beyond = np.flatnonzero(~np.isfinite(scores).all(axis=1))[:MOST_FAULTS].tolist()
            raise BadRows(
                {("rows", row): "lies so far from the training data that the model overflows" for row in beyond}
            )
        return scores

    def answer(self, scores: Floats) -> Prediction:
        """Return the prediction that scores mean."""
        version = self.version
        if not self._classifies:
            return Prediction(version.model, version.version, scores[:, 0].tolist(), None, ())
        classes = version.classes
        labels: list[Label] = [classes[best] for best in scores.argmax(axis=1).tolist()]
        return Prediction(version.model, version.version, labels, scores.tolist(), classes)

    def warm_up(self) -> None:
        """Answer one made-up row, so that the first caller does not pay for first use."""
        numbers = sum(feature.kind is not Kind.CATEGORY for feature in self.version.features)
        categories = len(self.version.features) - numbers
        self.scores(Inputs(np.zeros((1, numbers)), np.full((1, categories), "", dtype=object)))


class Inference:
    """Finds the version that a caller means, keeps it warm, and predicts. May be shared between threads."""

    def __init__(
        self,
        registry: Registry,
        *,
        max_rows: int = 10_000,
        hook: Hook = ignore,
        clock: Clock = SYSTEM_CLOCK,
        most_warm: int = MOST_WARM,
    ) -> None:
        self._registry, self._max_rows, self._hook, self._clock = registry, max_rows, hook, clock
        self._most_warm = most_warm
        self._warm: OrderedDict[tuple[str, int, float], WarmModel] = OrderedDict()
        self._loading = threading.Lock()
        self._warm_lock = threading.Lock()

    def predict(
        self, model: str, rows: Sequence[Row], *, version: int | None = None, alias: str | None = None
    ) -> Prediction:
        """Return the prediction of a version, or of the one that an alias (by default ``production``) points at.

        Raises ``UnknownModel``, ``BadRows`` or ``BrokenModel``.
        """
        started = self._clock.monotonic()
        self.check_size(len(rows))
        prediction = self.model(model, version=version, alias=alias).predict(rows)
        self.announce(prediction.model, prediction.version, len(rows), started)
        return prediction

    def model(self, model: str, *, version: int | None = None, alias: str | None = None) -> WarmModel:
        """Return a version ready to answer, loaded if it is not in memory yet."""
        found = self._registry.find(model, version=version, alias=alias)
        # The time of publication is part of the key: a restored database may hold another model under the number.
        key = found.model, found.version, found.created_at
        with self._warm_lock:
            warm = self._warm.get(key)
            if warm is not None:
                self._warm.move_to_end(key)
                return warm
        with self._loading:  # one load at a time; callers of warm models pass by
            with self._warm_lock:
                warm = self._warm.get(key)
            return warm or self._load(key, found)

    def check_size(self, rows: int) -> None:
        """Raise ``BadRows`` for an empty batch and for one above the limit."""
        if not rows:
            raise BadRows({("rows",): "is empty; send at least one row"})
        if rows > self._max_rows:
            raise BadRows({("rows",): f"has {rows} rows; at most {self._max_rows} are taken at once"})

    def announce(self, model: str, version: int, rows: int, started: float) -> None:
        """Tell the hook of an answer; ``started`` is the monotonic second at which the question came."""
        self._hook(Predicted(model, version, rows, self._clock.monotonic() - started))

    def _load(self, key: tuple[str, int, float], version: ModelVersion) -> WarmModel:
        warm = WarmModel(version, load_scorer(self._registry, version))
        warm.warm_up()
        with self._warm_lock:
            self._warm[key] = warm
            while len(self._warm) > self._most_warm:
                self._warm.popitem(last=False)
        return warm


def load_scorer(registry: Registry, version: ModelVersion) -> Scorer:
    """Return the scorer of a version's files. scikit-learn is imported only where the original serves."""
    if version.engine is Engine.ONNX:
        from quadra_matrix.service.models.onnxruntime import OnnxScorer

        return OnnxScorer(registry.read(version, "model.onnx"))
    from quadra_matrix.service.models import skops
    from quadra_matrix.service.models.sklearn.pipeline import SklearnScorer

    try:
        return SklearnScorer(skops.read(registry.read(version, "model.skops")))
    except QuadraError as refused:
        raise BrokenModel(version.model, version.version, str(refused)) from refused
