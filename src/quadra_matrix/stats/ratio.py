"""Did the arms get the shares of users they were meant to get? If not, no result can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log

from quadra_matrix.errors import require
from quadra_matrix.stats.evidence import NO_EVIDENCE, Evidence
from quadra_matrix.stats.special import chi_square_tail

_CONCENTRATION = 2000.0
"""Weight of the designed shares: 51/49 is found after some 22,000 users, 52/48 after 8,000."""


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """The plain test, for one planned look: the number that people know."""

    statistic: float | None = None
    p_value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The test for every look, of one phase: a new split starts a new one. Make one with the shares alone."""

    shares: tuple[float, ...]
    """Designed shares of the arms; they sum to 1."""
    users: tuple[int, ...] = ()
    """Users of each arm so far."""
    evidence: Evidence = NO_EVIDENCE

    def __post_init__(self) -> None:
        _require_shares(self.shares)


def update(state: SampleRatio, users: Sequence[int]) -> SampleRatio:
    """Add the users that each arm got since the last look."""
    _require_users(users, state.shares)
    so_far = state.users or (0,) * len(state.shares)
    seen = tuple(before + new for before, new in zip(so_far, users, strict=True))
    return SampleRatio(state.shares, seen, state.evidence.at(_log_e(seen, state.shares)))


def chi_square(users: Sequence[int], shares: Sequence[float]) -> ChiSquare:
    """Compare the users of each arm with their designed shares by Pearson's test."""
    _require_shares(shares)
    _require_users(users, shares)
    total = sum(users)
    if min(shares) * total < 5:
        return ChiSquare(reason="an arm expects fewer than 5 users")
    statistic = sum((n - total * r) * (n - total * r) / (total * r) for n, r in zip(users, shares, strict=True))
    return ChiSquare(statistic, chi_square_tail(statistic, len(users) - 1))


def _log_e(users: Sequence[int], shares: Sequence[float]) -> float:
    """Return the log e-value of the Dirichlet-multinomial mixture (Lindon & Malek, NeurIPS 2022)."""
    total = lgamma(_CONCENTRATION) - lgamma(_CONCENTRATION + sum(users))
    for n, share in zip(users, shares, strict=True):
        prior = _CONCENTRATION * share
        total += lgamma(prior + n) - lgamma(prior) - n * log(share)
    return total


def _require_shares(shares: Sequence[float]) -> None:
    holds = len(shares) >= 2 and min(shares) > 0 and abs(sum(shares) - 1) < 1e-9
    require(holds, "shares", shares, "two or more numbers above 0 that sum to 1")


def _require_users(users: Sequence[int], shares: Sequence[float]) -> None:
    holds = len(users) == len(shares) and min(users) >= 0
    require(holds, "users", users, "one number, at least 0, for each share")
