"""A breaker at one moment, as metrics, pages and commands show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A breaker at one moment; every count is since the breaker was made."""

    name: str
    state: str
    mode: str
    successes: int
    failures: int
    ignored: int
    """Calls that say nothing: ignored exceptions, cancelled, interrupted or closed early."""
    slow: int
    """Calls that took as long as a slow-call rule names."""
    rejected: int
    spared: int
    """Calls that only shadow mode let through."""
    stale: int
    """Results of an earlier era; they count above, but the rules do not see them."""
    opened: int
    half_opened: int
    closed: int
    seconds_in_state: float
    retry_after: float | None
    """Seconds until a call may be admitted; None while closed, or held open by an operator."""
    last_failure: str | None
    last_failure_at: datetime | None
    """UTC."""

    @property
    def calls(self) -> int:
        """Return the calls that ran and said something."""
        return self.successes + self.failures

    @property
    def success_rate(self) -> float:
        """Return the percentage of ``calls`` that succeeded; 100 before the first."""
        return 100.0 * self.successes / self.calls if self.calls else 100.0

    def as_promised(self) -> dict[str, Any]:
        """Return the six entries that ``get_all_circuit_breaker_metrics`` promises."""
        at = self.last_failure_at
        return {
            "state": self.state,
            "total_requests": self.calls,
            "successful_requests": self.successes,
            "failed_requests": self.failures,
            "success_rate": round(self.success_rate, 2),
            "last_failure_time": None if at is None else at.replace(tzinfo=None).isoformat(timespec="seconds"),
        }

    def as_json(self) -> dict[str, Any]:
        """Return every field as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return {
            **told,
            "seconds_in_state": round(self.seconds_in_state, 3),
            "retry_after": None if self.retry_after is None else round(self.retry_after, 3),
            "last_failure_at": None if self.last_failure_at is None else self.last_failure_at.isoformat(),
            "success_rate": round(self.success_rate, 2),
        }
