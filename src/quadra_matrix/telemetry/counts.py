"""What counts requests: the layers that see them tell it."""

from __future__ import annotations

from typing import Protocol


class CountsRequests(Protocol):
    """What wants to know of each answered request."""

    def request(self, method: str, route: str | None, status: int, seconds: float, trace_id: int = 0) -> None:
        """Count one request; ``route`` is the matched pattern, or None, and ``trace_id`` 0 where none is recorded."""
