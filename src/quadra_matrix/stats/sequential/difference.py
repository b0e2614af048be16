"""The difference of two arms with its error under the null: what ``groups`` and ``confidence`` look at."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

from quadra_matrix.stats.arms import Counts, Mean
from quadra_matrix.stats.fixed import rate_error


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment minus control, from everything seen so far."""

    users: int
    """In both arms."""
    value: float | None = None
    error: float | None = None
    """Standard error of the difference; above 0."""
    events: int | None = None
    """How many users of both arms converted; None when the metric is not yes-or-no."""
    reason: str | None = None
    """Why ``error`` is None."""

    def z(self, margin: float = 0.0) -> float | None:
        """Return how many errors the difference is away from ``margin``; None when undefined."""
        if self.value is None or self.error is None:
            return None
        z = (self.value - margin) / self.error
        return z if isfinite(z) else None


def of_rates(control: Counts, treatment: Counts, *, margin: float = 0.0) -> Difference:
    """Return the difference of two rates; its error is that of the score test with this ``margin``."""
    users, events = control.total + treatment.total, control.events + treatment.events
    if not (control.total and treatment.total):
        return Difference(users, events=events, reason="an arm is empty")
    value = treatment.events / treatment.total - control.events / control.total
    error = rate_error(control, treatment, margin=margin)
    if not error:
        return Difference(users, value, events=events, reason="nobody or everybody had the event")
    return Difference(users, value, error, events)


def of_means(control: Mean, treatment: Mean) -> Difference:
    """Return the difference of two means, with the larger of the pooled and the separate error.

    One huge value in a small arm passes for an effect under the pooled error; under the separate error a small arm that
    drew no huge value does. Where nothing is skewed the two agree.
    """
    users = control.n + treatment.n
    if control.value is None or treatment.value is None or control.variance is None or treatment.variance is None:
        return Difference(users, reason=control.reason or treatment.reason)
    value = treatment.value - control.value
    share = (control.n - 1) / (users - 2)
    pooled = share * control.variance + (1 - share) * treatment.variance
    separate = control.variance / control.n + treatment.variance / treatment.n
    error = max(sqrt(pooled) * sqrt(1 / control.n + 1 / treatment.n), sqrt(separate))
    if not (isfinite(value) and error):
        return Difference(users, reason="the metric does not vary, or is too large to compute with")
    return Difference(users, value, error)
