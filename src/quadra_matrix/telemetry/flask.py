"""Count and time the requests of a Flask application."""

from __future__ import annotations

from typing import Protocol

from flask import Flask, Response, g, request

from quadra_matrix.clock import SYSTEM_CLOCK, Clock


class CountsRequests(Protocol):
    """What wants to know of each answered request."""

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the matched pattern, or None."""


def count_requests(app: Flask, counts: CountsRequests, clock: Clock = SYSTEM_CLOCK) -> None:
    """Tell ``counts`` of every request that ``app`` answers, errors and unknown paths included.

    Call it before other features add their own hooks: the time of those is then part of the measured one.
    """

    @app.before_request
    def begin() -> None:
        g.quadra_began = clock.monotonic()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else None
        began: float = g.get("quadra_began", clock.monotonic())
        counts.request(request.method, route, response.status_code, clock.monotonic() - began)
        return response
