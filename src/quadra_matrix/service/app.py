"""Build the ready service: the only place that knows every part."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from flask import Flask

from quadra_matrix.access.flask.answers import STATUSES as ACCESS_STATUSES
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.limiter import Limiter
from quadra_matrix.api.flask import setup_problem_errors
from quadra_matrix.breaker import CircuitBreaker
from quadra_matrix.breaker.flask import setup_circuit_breakers
from quadra_matrix.breaker.registry import Registry as Circuits
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import DatabaseUnavailable, QuadraError, TablesMissing, TracesUnavailable
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.service import checks
from quadra_matrix.service.access.wiring import guard, keyring_of, limiter_of
from quadra_matrix.service.certificates import renewer_of, shared_entries
from quadra_matrix.service.circuits import answer_as_problem
from quadra_matrix.service.deciding import experiments_of
from quadra_matrix.service.documentation import describe_api
from quadra_matrix.service.experiments import close
from quadra_matrix.service.health import Check, State, examine
from quadra_matrix.service.jobs.__main__ import last_beat
from quadra_matrix.service.jobs.logs import log_reader
from quadra_matrix.service.models.datasets import Datasets
from quadra_matrix.service.models.experiments import ModelExperiments
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.routes import experiments, train
from quadra_matrix.service.routes.datasets import dataset_routes
from quadra_matrix.service.routes.health import health_routes
from quadra_matrix.service.routes.inference_protocol import inference_protocol_routes
from quadra_matrix.service.routes.models import model_routes
from quadra_matrix.service.routes.predict import predict_routes
from quadra_matrix.service.settings import Settings
from quadra_matrix.service.watching import UNTRACED, kept_by
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.backups import SqlBackups
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.storage.sql.models import SqlDatasets, SqlModels
from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.telemetry.environment import Exporter
from quadra_matrix.telemetry.flask import setup_distributed_tracing, trace_routes
from quadra_matrix.telemetry.otel.current import note
from quadra_matrix.telemetry.otel.libraries import instrument_libraries
from quadra_matrix.telemetry.series import Metrics, training_jobs
from quadra_matrix.telemetry.traces import TraceStore
from quadra_matrix.tls.flask import setup_tls
from quadra_matrix.tls.headers import HeaderOptions

log = logging.getLogger(__name__)

STATUSES: Mapping[type[QuadraError], int] = {
    DatabaseUnavailable: 503,
    TablesMissing: 503,
    **ACCESS_STATUSES,
    TracesUnavailable: 503,
    **train.STATUSES,
    **experiments.STATUSES,
}
"""Errors of ours that are not the service's mistake, and the HTTP status that says so."""


END = "quadra_matrix.end"
"""Extension of the app that ends it, once: delivers what waits and closes what is open."""


def create_app(settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> Flask:
    """Return the service's HTTP side. Every worker process builds its own; they share the database and the folders.

    The default model is warm before this returns, so a worker answers nothing while it is cold.
    """
    if settings.tracing_exporter is not Exporter.NONE:
        instrument_libraries()  # before the engine is made: its calls are traced only then
    with ExitStack() as built:
        parts = _build(settings, clock, built)
        app = _routed(settings, parts, clock, built)
        _warm_up(parts.needed["model"])
        # Flask itself has no moment at which an app ends.
        app.extensions[END] = weakref.finalize(app, built.pop_all().close)
        return app


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes of one worker stand on."""

    jobs: SqlJobs
    datasets: Datasets
    registry: Registry
    inference: Inference
    framework: ABTestingFramework
    trials: ModelExperiments
    metrics: Metrics
    traces: TraceStore
    needed: Mapping[str, Check]
    """Checks of the parts that requests need."""
    watched: Mapping[str, Check]
    """Checks of the parts that requests do without."""
    circuits: Circuits
    """The breakers around other servers. Each worker has its own."""
    keyring: Keyring
    """API keys and sessions."""
    limiter: Limiter
    """Counts calls."""
    entries: CertificateStore | None
    """What hosts share about a certificate that an authority issues."""


def _build(settings: Settings, clock: Clock, built: ExitStack) -> Parts:
    """Return the parts; ``built`` closes what they hold."""
    database = Database(settings.database_url)
    built.callback(database.close)
    jobs = SqlJobs(database, clock)
    circuits = Circuits()
    metrics = Metrics(
        settings.metrics_dir, (training_jobs(jobs.counts),), lambda: [breaker.snapshot() for breaker in circuits], note
    )
    circuits.listen(metrics.hear)
    built.callback(metrics.close)
    registry = Registry(SqlModels(database), settings.models_dir, hook=metrics.hear, clock=clock)
    inference = Inference(registry, max_rows=settings.max_batch_rows, hook=metrics.hear, clock=clock)
    needed = {
        "service": checks.goes_on(settings.stopping_file),
        "database": checks.answers(database.ping),
        "model": checks.warm(partial(inference.model, settings.default_model)),
    }
    watched = {"jobs": checks.beats(partial(last_beat, settings.data_dir), clock)}
    if settings.redis_url:
        # A Redis that hangs would hold every probe of /health for its whole time-out.
        breaker = CircuitBreaker("redis", failure_threshold=3, recovery_timeout=10.0, registry=circuits)
        watched["redis"] = checks.answers(breaker(_redis_ping(settings.redis_url, built)))
    if settings.backup_every_hours is not None:
        last_made = SqlBackups(database).last_made
        watched["backups"] = checks.backed_up(last_made, every_hours=settings.backup_every_hours, clock=clock)
    # What Redis costs when it is lost is paid once: one failure opens the circuit.
    limits_breaker = CircuitBreaker("redis-limits", failure_threshold=1, recovery_timeout=1.0, registry=circuits)
    limiter = limiter_of(settings, limits_breaker.call, built, hook=metrics.hear)
    entries = shared_entries(settings, database, clock) if settings.acme_names else None
    if entries is not None:
        watched["certificate"] = checks.renewed(renewer_of(settings, entries, clock=clock).status)
    datasets = Datasets(SqlDatasets(database), settings.datasets_dir, clock=clock)
    framework, trials = experiments_of(settings, database, registry, clock, metrics.hear)
    built.callback(close, framework)
    return Parts(
        jobs,
        datasets,
        registry,
        inference,
        framework,
        trials,
        metrics,
        TraceStore(settings.traces_file, settings.trace_store_bytes),
        needed,
        watched,
        circuits,
        keyring_of(settings, database, clock),
        limiter,
        entries,
    )


def _routed(settings: Settings, parts: Parts, clock: Clock, built: ExitStack) -> Flask:
    """Return the app with every route; ``built`` delivers the last spans."""
    app = Flask("quadra_matrix", static_folder=None)
    if settings.secret_key:
        app.secret_key = settings.secret_key.get_secret_value()
    tracing = setup_distributed_tracing(
        app,
        untraced=UNTRACED,
        counts=parts.metrics,
        deliver=kept_by(parts.traces),
        report=parts.metrics.spans,
        environ=settings.tracing_variables(),
    )
    built.callback(tracing.close)
    setup_problem_errors(app, statuses=STATUSES, hook=parts.metrics.hear, trace_id=tracing.current_trace_id)
    access = guard(app, settings, parts.keyring, parts.limiter, hook=parts.metrics.hear)
    for routes in (
        health_routes(parts.needed, parts.watched, parts.metrics, clock),
        train.train_routes(
            parts.jobs,
            queue_limit=settings.queue_limit,
            stopping=settings.stopping_file.exists,
            carried=tracing.carried,
            read_log=log_reader(settings, parts.jobs),
            clock=clock,
        ),
        dataset_routes(parts.datasets, max_upload_bytes=settings.max_upload_bytes),
        model_routes(parts.registry),
        predict_routes(
            parts.inference, parts.trials, default_model=settings.default_model, max_rows=settings.max_batch_rows
        ),
        experiments.experiment_routes(parts.framework, access.admits),
        experiments.model_experiment_routes(parts.framework, parts.trials, access.admits),
        inference_protocol_routes(
            parts.inference, parts.registry, ready=lambda: examine(parts.needed, clock=clock).answers, clock=clock
        ),
        trace_routes(parts.traces, authorize=access.admits),
    ):
        app.register_blueprint(routes)
    setup_circuit_breakers(app, parts.circuits, authorize=access.admits, answer=answer_as_problem)
    describe_api(app, settings)
    setup_tls(
        app,
        headers=HeaderOptions(hsts_seconds=settings.tls_hsts_seconds),
        redirect=settings.tls,
        https_port=settings.port,
        trusted_hops=settings.trusted_hops,
        identify_clients=settings.tls_client_ca is not None,
        client_header=settings.tls_client_header,
        challenges=parts.entries,
    )
    return app


def _warm_up(model: Check) -> None:
    """Load the default model; a worker that cannot do so yet starts all the same and is not ready."""
    try:
        found = model()
    except QuadraError as failed:
        log.warning("the default model is not loaded: %s", failed)
    else:
        if found.state is not State.OK:
            log.warning("the default model is not loaded: %s", found.detail)


def _redis_ping(url: str, built: ExitStack) -> Callable[[], None]:
    from quadra_matrix.storage.redis import SharedRedis  # the extra is needed only where an address is set

    shared = SharedRedis(url)
    built.callback(shared.close)
    return shared.ping
