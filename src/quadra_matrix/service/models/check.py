"""Decide whether the ONNX export is faithful enough to serve instead of the scikit-learn original."""

from __future__ import annotations

import numpy as np

from quadra_matrix.service.models.values import Floats
from quadra_matrix.store.models import OnnxCheck, Task

TOLERANCE = 1e-5
"""Largest difference of a probability, or of a number relative to the spread of the target, that still serves."""


def compare(task: Task, original: Floats, exported: Floats, *, spread: float, tolerance: float) -> OnnxCheck:
    """Return how far the export's scores are from the original's; ``spread`` is the target's standard deviation."""
    distance = np.abs(original - exported)
    largest = float(distance.max()) / (1.0 if task is Task.CLASSIFICATION else spread or 1.0)
    flips = int((original.argmax(axis=1) != exported.argmax(axis=1)).sum())
    reason = ""
    if flips:
        reason = f"{flips} of {len(original)} labels differ"
    elif not largest <= tolerance:  # also refuses NaN
        reason = f"scores differ by up to {largest:.3g}; at most {tolerance:g} is served"
    return OnnxCheck(len(original), largest if np.isfinite(largest) else None, flips, reason)


def not_exported(rows: int, why: str) -> OnnxCheck:
    """Return the result where there is no export to compare."""
    return OnnxCheck(rows, None, 0, f"no export: {why}")
