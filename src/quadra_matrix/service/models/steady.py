"""Score rows so that a row's result never depends on the rows beside it, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from quadra_matrix.service.models.values import Floats, Inputs, Scorer

BLOCK = 256
"""Rows scored at once; it bounds memory where a model compares every row with every training row."""

PADDING = 8
"""Copies of the last row that are scored after it and thrown away.

Numeric libraries compute a matrix of one row, and the last few elements of an array, by other instructions than the
rest, and the results differ in the last bit. Eight copies at the end, the widest vector of doubles, keep every real
row in the part that is computed alike.
"""

PROBED = (*range(2, 10), 17, 64, BLOCK)
"""Sizes of blocks that publication compares with single rows."""


def scores(scorer: Scorer, inputs: Inputs, padding: int | None) -> Floats:
    """Return the scores of every row. ``padding`` is what ``steady_padding`` found: None scores each row alone."""
    size, copies = (1, PADDING) if padding is None else (BLOCK, padding)
    if len(inputs) <= size:
        return scorer.scores(inputs.padded(copies))[: len(inputs)]
    return np.concatenate([scorer.scores(part.padded(copies))[: len(part)] for part in _parts(inputs, size)])


def steady_padding(scorer: Scorer, probe: Inputs, candidates: Iterable[int]) -> int | None:
    """Return the first of ``candidates`` with which blocks score exactly as single rows; None if none does."""
    return next((padding for padding in candidates if _is_steady(scorer, probe, padding)), None)


def _is_steady(scorer: Scorer, probe: Inputs, padding: int) -> bool:
    alone = _in_blocks(scorer, probe, 1, padding)
    return all(np.array_equal(_in_blocks(scorer, probe, size, padding), alone) for size in PROBED)


def _in_blocks(scorer: Scorer, inputs: Inputs, size: int, padding: int) -> Floats:
    return np.concatenate([scores(scorer, part, padding) for part in _parts(inputs, size)])


def _parts(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """Yield consecutive parts of at most ``size`` rows."""
    return (inputs.take(slice(start, start + size)) for start in range(0, len(inputs), size))
