"""How many A/A tests gbstats' sequential test ever calls decided. Runs in gbstats' own environment, for peeking.py."""

from __future__ import annotations

import json
import sys

import numpy as np
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic


def decided(test: np.ndarray, *, binary: bool, config: SequentialConfig) -> bool:
    """Return whether the interval excluded no effect at any look."""
    for look in test:
        control, treatment = (
            ProportionStatistic(n=int(n), sum=int(total))
            if binary
            else SampleMeanStatistic(n=int(n), sum=total, sum_squares=squares)
            for n, total, squares in look
        )
        found = SequentialTwoSidedTTest(control, treatment, config).compute_result()
        low, high = found.ci
        if found.error_message is None and (low > 0 or high < 0):
            return True
    return False


counts = []
for path in sys.argv[1:]:
    cell = np.load(path)
    config = SequentialConfig(alpha=0.05)
    counts.append(sum(decided(test, binary=bool(cell["binary"]), config=config) for test in cell["tests"]))
print(json.dumps(counts))
