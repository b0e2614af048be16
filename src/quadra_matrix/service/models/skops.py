"""Write and read the scikit-learn original without pickle: skops stores a type's name and its state, never code."""

from __future__ import annotations

from typing import Any

import skops.io

from quadra_matrix.errors import UntrustedModel

TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
"""Types of our own pipelines beyond those that skops trusts by itself."""


def dump(fitted: Any) -> bytes:
    """Return the file of a fitted pipeline."""
    written: bytes = skops.io.dumps(fitted)
    return written


def read(file: bytes) -> Any:
    """Return the pipeline of a file. Raises ``UntrustedModel`` before anything of it is built."""
    strangers = sorted(set(skops.io.get_untrusted_types(data=file)) - TRUSTED)
    if strangers:
        raise UntrustedModel(strangers)
    return skops.io.loads(file, trusted=sorted(TRUSTED))
