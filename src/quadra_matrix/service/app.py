"""Build the ready service: the only place that knows every part."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from flask import Flask

from quadra_matrix.api.flask import setup_problem_errors
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import DatabaseUnavailable, QuadraError
from quadra_matrix.service.health import OK, Check, Finding, State
from quadra_matrix.service.routes import train
from quadra_matrix.service.routes.health import health_routes
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.telemetry.flask import count_requests
from quadra_matrix.telemetry.series import Metrics, training_jobs

STATUSES: dict[type[QuadraError], int] = {DatabaseUnavailable: 503, **train.STATUSES}
"""Errors of ours that are not the service's mistake, and the HTTP status that says so."""


def create_app(settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> Flask:
    """Return the service's HTTP side. Every worker process builds its own; they share the database and the folders."""
    closing = ExitStack()
    database = Database(settings.database_url)
    closing.callback(database.close)
    jobs = SqlJobs(database, clock)
    metrics = Metrics(settings.metrics_dir, (training_jobs(jobs.counts),))
    closing.callback(metrics.close)
    needed: dict[str, Check] = {"service": _goes_on(settings.stopping_file), "database": _answers(database.ping)}
    watched: dict[str, Check] = {}
    if settings.redis_url:
        watched["redis"] = _redis(settings.redis_url, closing)

    app = Flask("quadra_matrix", static_folder=None)
    if settings.secret_key:
        app.secret_key = settings.secret_key.get_secret_value()
    count_requests(app, metrics, clock)
    setup_problem_errors(app, statuses=STATUSES)
    app.register_blueprint(health_routes(needed, watched, metrics, clock))
    stopping = settings.stopping_file.exists
    app.register_blueprint(train.train_routes(jobs, queue_limit=settings.queue_limit, stopping=stopping, clock=clock))
    weakref.finalize(app, closing.close)  # Flask itself has no moment at which an app ends
    return app


def _answers(ping: Callable[[], None]) -> Check:
    """Return the check that passes when ``ping`` raises nothing."""

    def check() -> Finding:
        ping()
        return OK

    return check


def _goes_on(stopping: Path) -> Check:
    """Return the check that waits once the file says that the service stops."""
    return lambda: Finding(State.WAITING, "the service stops") if stopping.exists() else OK


def _redis(url: str, closing: ExitStack) -> Check:
    from quadra_matrix.storage.redis import SharedRedis  # the extra is needed only where an address is set

    shared = SharedRedis(url)
    closing.callback(shared.close)
    return _answers(shared.ping)
