"""What an always-valid test has found so far: an e-value that may be read at any look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, log

from quadra_matrix.errors import require

_LARGEST = 700.0
"""exp() of more leaves the floating point."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """An e-process: under the null, the chance that it ever reaches 1/alpha is at most alpha (Ville's inequality).

    It is kept as a logarithm; two numbers are all there is to store between looks.
    """

    log_e: float = 0.0
    """Logarithm of the e-value now. e-values of independent data multiply; of the same data they average."""
    peak: float = 0.0
    """The highest ``log_e`` of any look so far; never below 0."""

    def at(self, log_e: float) -> Evidence:
        """Return the evidence after a look that found ``log_e``."""
        return Evidence(log_e, max(self.peak, log_e))

    @property
    def e_value(self) -> float:
        """The e-value now, cut at exp(700) so that it is always a number."""
        return exp(min(self.log_e, _LARGEST))

    @property
    def p_value(self) -> float:
        """The any-time p-value: it only falls, and looking at it costs nothing."""
        return exp(-self.peak)

    def rejects(self, alpha: float) -> bool:
        """Whether some look so far refuted the null at level ``alpha``."""
        require(0 < alpha < 1, "alpha", alpha, "between 0 and 1")
        return self.peak >= -log(alpha)


NO_EVIDENCE = Evidence()
"""Where every test starts."""


def log_mean_exp(logs: Sequence[float]) -> float:
    """Return the logarithm of the average of exp(logs), without leaving the floating point."""
    top = max(logs)
    return top + log(fsum(exp(value - top) for value in logs) / len(logs))
