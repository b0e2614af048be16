"""Many questions at once: p-values and e-values corrected for how many were asked."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from quadra_matrix.errors import require


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return adjusted p-values, in the order given: below alpha, the chance of any false finding is below alpha."""
    _check(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return adjusted p-values, in the order given: below alpha, at most that share of the findings is false."""
    _check(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for before, place in enumerate(order):
        lowest = min(lowest, p_values[place] * len(p_values) / (len(p_values) - before))
        adjusted[place] = lowest
    return tuple(adjusted)


def e_benjamini_hochberg(log_e_values: Sequence[float], *, alpha: float = 0.05) -> tuple[bool, ...]:
    """Return which nulls are refuted, at most a share alpha of them falsely, however the e-values depend on each other.

    Takes logarithms, as ``Evidence`` keeps them (Wang & Ramdas, JRSS B 2022).
    """
    require(0 < alpha < 1, "alpha", alpha, "between 0 and 1")
    count = len(log_e_values)
    ranked = sorted(log_e_values, reverse=True)
    enough = [value for rank, value in enumerate(ranked, 1) if value >= log(count / (rank * alpha))]
    return tuple(bool(enough) and value >= enough[-1] for value in log_e_values)


def _check(p_values: Sequence[float]) -> None:
    for p_value in p_values:
        require(0 <= p_value <= 1, "p_values", p_value, "from 0 to 1")
