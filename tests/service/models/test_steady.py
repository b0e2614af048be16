"""A row's score never depends on its neighbours, whatever the model does inside."""

from __future__ import annotations

import numpy as np
import pytest

from quadra_matrix.service.models.steady import BLOCK, PADDING, scores, steady_padding
from quadra_matrix.service.models.values import Floats, Inputs


def rows(count: int) -> Inputs:
    numeric = np.random.default_rng(3).normal(size=(count, 4))
    return Inputs(numeric, np.empty((count, 0), dtype=object))


class ByRow:
    """As trees are: each row by itself."""

    largest = 0

    def scores(self, inputs: Inputs) -> Floats:
        self.largest = max(self.largest, len(inputs))
        return np.stack([np.sum(row, keepdims=True) for row in inputs.numeric])


class ByVectors(ByRow):
    """As vector instructions are: the last rows that fill no vector come out a bit different."""

    def scores(self, inputs: Inputs) -> Floats:
        found = super().scores(inputs)
        tail = len(inputs) - len(inputs) % PADDING
        found[tail:] = np.nextafter(found[tail:], np.inf)
        return found


class ByBatch(ByRow):
    """As a badly exported model is: the rest of the batch has a say."""

    def scores(self, inputs: Inputs) -> Floats:
        return super().scores(inputs) + len(inputs)


@pytest.mark.parametrize(("scorer", "padding"), [(ByRow(), 0), (ByVectors(), PADDING), (ByBatch(), None)])
def test_the_least_padding_that_holds_is_found(scorer: ByRow, padding: int | None) -> None:
    assert steady_padding(scorer, rows(300), (0, PADDING)) == padding


@pytest.mark.parametrize(("scorer", "padding"), [(ByRow(), 0), (ByVectors(), PADDING), (ByBatch(), None)])
@pytest.mark.parametrize("count", [1, 2, 7, BLOCK, BLOCK + 1, 600])
def test_with_it_a_batch_equals_its_rows(scorer: ByRow, padding: int | None, count: int) -> None:
    inputs = rows(count)

    together = scores(scorer, inputs, padding)

    alone = [scores(scorer, inputs.take(slice(i, i + 1)), padding) for i in range(count)]
    assert np.array_equal(together, np.concatenate(alone))


def test_no_block_is_larger_than_a_block() -> None:
    scorer = ByRow()

    scores(scorer, rows(2_000), PADDING)

    assert scorer.largest == BLOCK + PADDING
