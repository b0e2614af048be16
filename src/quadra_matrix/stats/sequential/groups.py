"""Group-sequential test with O'Brien-Fleming-type alpha spending (Lan & DeMets 1983), at as many looks as wanted.

The planned size is the only thing to know in advance. Each look may spend a little of alpha, next to nothing early on,
so a test watched at every look has nearly the power of a test read once, and stops at three quarters of its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Alternative, Interval
from quadra_matrix.stats.sequential.difference import Difference
from quadra_matrix.stats.sequential.walk import HIGHEST_Z, START, Walk, bound_of, step
from quadra_matrix.stats.special import normal_point, normal_tail

FINEST = 1 / 1000
"""A look that brings less than this share of the plan is not a new look."""


@dataclass(frozen=True, slots=True)
class GroupSequential:
    """A test of planned size, after its latest look. Make one with the first two fields alone."""

    planned: int
    """Users of both arms at the planned end. Fixed before the data."""
    alpha: float = 0.05
    alternative: Alternative = Alternative.TWO_SIDED
    users: int = 0
    """Users of both arms at the latest look."""
    bound: float = HIGHEST_Z
    """How many standard errors the latest look had to reach."""
    z: float | None = None
    """How many it reached; None when it could not be computed."""
    rejected_at: int | None = None
    """Users at the first look that reached its bound; None while none has."""
    spent: float = 0.0
    """Alpha spent so far on each side that counts."""
    walk: Walk = START
    """Where the score is, given that no earlier look reached its bound."""

    def __post_init__(self) -> None:
        require(self.planned > 0, "planned", self.planned, "above 0")
        require(0 < self.alpha < 1, "alpha", self.alpha, "between 0 and 1")

    @property
    def finished(self) -> bool:
        """Whether the planned size is reached: alpha is spent, later looks cannot decide."""
        return self.users >= self.planned

    @property
    def rejected(self) -> bool:
        """Whether some look refuted the null."""
        return self.rejected_at is not None


def look(state: GroupSequential, users: int, z: float | None) -> GroupSequential:
    """Take a look at ``users`` in both arms, whose difference is ``z`` standard errors from the null.

    Nothing happens past the planned end, nor when hardly anyone is new. The look that first passes the planned end is
    the last and spends all that is left.
    """
    fraction, before = users / state.planned, state.users / state.planned
    if state.finished or fraction - before < FINEST:
        return state
    side = state.alpha / 2 if state.alternative is Alternative.TWO_SIDED else state.alpha
    spent = spending(fraction, side)
    bound = bound_of(state.walk, fraction, spent - state.spent)
    lowest = -bound if state.alternative is Alternative.TWO_SIDED else -HIGHEST_Z
    seen = replace(
        state,
        users=users,
        bound=bound,
        z=z,
        spent=spent,
        walk=step(state.walk, fraction, lowest, bound),
    )
    crossed = z is not None and _towards(state.alternative, z) >= bound
    return replace(seen, rejected_at=users) if crossed and not state.rejected else seen


def interval(state: GroupSequential, difference: Difference) -> Interval | None:
    """Return the repeated confidence interval of the latest look: all of them hold together with chance 1 - alpha."""
    if difference.value is None or difference.error is None:
        return None
    reach = state.bound * difference.error
    low, high = difference.value - reach, difference.value + reach
    if state.alternative is Alternative.GREATER:
        return Interval(low, None)
    return Interval(None, high) if state.alternative is Alternative.LESS else Interval(low, high)


def spending(fraction: float, side: float) -> float:
    """Return how much of a one-sided level ``side`` may be spent by this fraction of the plan."""
    if fraction >= 1:
        return side
    return 2 * normal_tail(normal_point(side / 2) / sqrt(fraction))


def bounds(fractions: tuple[float, ...], *, alpha: float = 0.05) -> tuple[float, ...]:
    """Return the two-sided bounds, in standard errors, of looks at these rising fractions of a plan."""
    state, found = GroupSequential(10**9, alpha), []
    for fraction in fractions:
        state = look(state, round(fraction * state.planned), None)
        found.append(state.bound)
    return tuple(found)


def _towards(alternative: Alternative, z: float) -> float:
    """Turn z so that large means: against the null."""
    if alternative is Alternative.TWO_SIDED:
        return abs(z)
    return z if alternative is Alternative.GREATER else -z
