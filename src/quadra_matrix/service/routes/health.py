"""``/health``, ``/health/live``, ``/health/ready`` and ``/metrics``: for probes, load balancers and Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, RootModel

from quadra_matrix import __version__
from quadra_matrix.api.flask import documented, validated
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.service.health import Check, Report, State, examine
from quadra_matrix.telemetry.series import Metrics

UNAVAILABLE = 503


class CheckResult(BaseModel):
    """What one check found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    state: State
    detail: str | None = None
    """Why it is not ok; None where it is."""
    seconds: float = Field(ge=0)
    """How long the check took."""


class HealthCheckResponse(BaseModel):
    """How the service is, part by part."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: State
    """ok; degraded when a part fails that requests do without; waiting or failed when they need it."""
    version: str
    """The version of Quadra Matrix that answers."""
    uptime: float = Field(ge=0)
    """Seconds since this worker started."""
    checks: dict[str, CheckResult]


class Liveness(BaseModel):
    """The process answers; restart it when this does not come."""

    status: State = State.OK


class MetricsResponse(RootModel[str]):
    """Every number in the Prometheus text format; in OpenMetrics for a scraper that asks for it."""


def health_routes(
    needed: Mapping[str, Check],
    watched: Mapping[str, Check],
    metrics: Metrics,
    clock: Clock = SYSTEM_CLOCK,
) -> Blueprint:
    """Return the routes of health and metrics.

    Liveness asks nothing of any other part: a database that is away must not restart every worker. Readiness asks the
    parts that requests need, health also those they do without.
    """
    routes = Blueprint("health", __name__)
    started = clock.monotonic()

    def answer(report: Report) -> tuple[HealthCheckResponse, int]:
        checked = {
            name: CheckResult(state=found.state, detail=found.detail, seconds=found.seconds)
            for name, found in report.checks.items()
        }
        uptime = clock.monotonic() - started
        body = HealthCheckResponse(status=report.state, version=__version__, uptime=uptime, checks=checked)
        return body, 200 if report.answers else UNAVAILABLE

    @routes.get("/health")
    @validated(responses={UNAVAILABLE: HealthCheckResponse})
    def health() -> tuple[HealthCheckResponse, int]:
        """Tell how the service is, part by part; 503 unless it answers requests as it should."""
        return answer(examine(needed, watched, clock))

    @routes.get("/health/live")
    @validated
    def live() -> Liveness:
        """Tell that the process answers."""
        return Liveness()

    @routes.get("/health/ready")
    @validated(responses={UNAVAILABLE: HealthCheckResponse})
    def ready() -> tuple[HealthCheckResponse, int]:
        """Tell whether to send requests here; 503 while it starts, stops or misses a part it needs."""
        return answer(examine(needed, clock=clock))

    @routes.get("/metrics")
    @documented(media="text/plain", response=MetricsResponse)
    def prometheus() -> Response:
        """Return the numbers of all workers in Prometheus text."""
        text, content_type = metrics.exposition(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type, headers={"Vary": "Accept"})

    return routes
