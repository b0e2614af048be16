"""A clock that moves only when a test says so."""

from __future__ import annotations

from quadra_matrix.errors import require


class FakeClock:
    """A ``Clock`` under a test's control: ``sleep`` returns at once and advances it. Not for several threads."""

    def __init__(self, *, now: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._now, self._monotonic = now, monotonic
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the fake wall time in seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return the fake monotonic time in seconds."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance by ``seconds`` and remember the request in ``slept``."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both times on; time never goes back."""
        require(seconds >= 0, "seconds", seconds, "0 or more")
        self._now += seconds
        self._monotonic += seconds

    def step_wall(self, seconds: float) -> None:
        """Move only the wall time, in either direction: an NTP step or a daylight-saving mistake."""
        self._now += seconds
