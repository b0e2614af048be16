"""The one table: every number of the product by name, and what becomes of every event: counts, span event, log line.

To add an event, add a class to ``quadra_matrix/events/``, a row to ``EVENTS`` here and the counter that it names to the
metrics. The reference page and the files for monitoring are made from this table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from logging import DEBUG, ERROR, INFO, WARNING

from quadra_matrix.events import Event, access, api, breaker, chaos, delivery, experiments, models, storage, tls


class Kind(enum.StrEnum):
    """How a number behaves."""

    COUNTER = "counter"
    """Only grows; the sum over all processes."""
    HISTOGRAM = "histogram"
    """Durations in seconds, counted by size; the sum over all processes."""
    GAUGE = "gauge"
    """Read when somebody asks."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number, one for each combination of label values. No label takes a value without bound, such as an address."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Count:
    """What an event adds to a counter."""

    metric: Metric
    values: tuple[str, ...] = ()
    """Of each label: the name of the event's field, or ``=`` and the value itself."""
    amount: str | None = None
    """The field that holds how much is added; 1 without it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of one kind of event."""

    event: type[Event]
    level: int
    says: str
    """The log line; ``{field}`` stands for the event's field."""
    counts: tuple[Count, ...]


def _counter(name: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(f"quadra_{name}_total", Kind.COUNTER, labels, text)


def _gauge(name: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(f"quadra_{name}", Kind.GAUGE, labels, text)


# fmt: off
REQUESTS = _counter("http_requests", ("method", "route", "status"), "Requests answered, by the route's pattern.")
DURATIONS = Metric("quadra_http_request_duration_seconds", Kind.HISTOGRAM, ("method", "route"),
                   "Seconds from a request's arrival to its answer, by the route's pattern.")
BROKEN_ANSWERS = _counter("broken_answers", ("endpoint",), "Answers that broke the schema of their view.")
PREDICTIONS = _counter("predictions", ("model", "version"), "Prediction requests answered, by model and version.")
PREDICTED_ROWS = _counter("predicted_rows", ("model", "version"), "Rows predicted, by model and version.")
PUBLISHED = _counter("models_published", ("model", "engine"), "Versions published, by model and serving engine.")
ALIAS_MOVES = _counter("alias_moves", ("model", "alias"), "Times that an alias was pointed at another version.")
JOBS = _gauge("training_jobs", ("state",), "Training jobs in the job table, by state.")
CIRCUIT_CALLS = _counter("circuit_calls", ("circuit", "outcome"), "Calls through a circuit breaker, by outcome.")
CIRCUIT_MOVES = _counter("circuit_transitions", ("circuit", "to"), "Changes of a circuit's state.")
CIRCUIT_STATE = _gauge("circuit_state", ("circuit",), "State of a circuit: 0 closed, 1 open, 2 half-open.")
CIRCUIT_SECONDS = _gauge("circuit_state_seconds", ("circuit",), "Seconds since a circuit's state changed.")
CIRCUIT_OVERRIDES = _counter("circuit_overrides", ("circuit", "mode"), "Times that an operator changed a circuit.")
CIRCUIT_STORE = _counter("circuit_store_changes", ("circuit", "to"), "Times a shared circuit lost or found its store.")
EXPERIMENT_CHANGES = _counter("experiment_changes", ("experiment", "to"), "Changes of an experiment's status.")
EXPERIMENT_DECISIONS = _counter("experiment_decisions", ("experiment", "decision"), "Decisions of sequential tests.")
EXPERIMENT_LOG = _counter("experiment_log_changes", ("to",), "Times writing experiment events stalled or recovered.")
EXPERIMENT_DROPS = _counter("experiment_events_dropped", (), "Experiment events lost because memory was full.")
TRAFFIC_SHIFTS = _counter("rollout_traffic_shifts", ("rollout",), "Times that a version was given another share.")
ROLLOUT_MOVES = _counter("rollout_moves", ("rollout", "kind", "phase"), "Phases that rollouts entered.")
CERTIFICATE_SWAPS = _counter("certificate_swaps", ("certificate", "outcome"), "New certificate files found.")
RENEWALS = _counter("certificate_renewals", ("domain", "outcome"), "Certificates that an authority issued, or did not.")
RENEWAL_ADVICE = _counter("certificate_renewal_windows", ("domain",), "Times an authority moved its renewal window.")
HANDSHAKE_FAILURES = _counter("tls_handshake_failures", (), "Connections of which no TLS connection came.")
CLIENT_REFUSALS = _counter("tls_client_refusals", ("reason",), "Clients refused for their certificate, by reason.")
ACCESS_REFUSALS = _counter("access_refusals", ("reason",), "Calls that were refused, by reason.")
SIGN_INS = _counter("sign_ins", ("outcome",), "Attempts to get a session, and sessions ended by their holders.")
LIMITS_REACHED = _counter("limits_reached", ("limit",), "Calls refused because a limit was used up.")
SHARED_LIMITS = _counter("shared_limits_changes", ("to",), "Times the store of shared limits was lost or came back.")
SIGNING_KEYS = _counter("signing_keys_reads", ("issuer", "outcome"), "Times an issuer's signing keys were asked for.")
BACKUPS = _counter("backups", ("outcome",), "Backups that the schedule made, or failed to make.")
CHAOS_PHASES = _counter("chaos_phases", ("experiment", "phase"), "Phases that runs of chaos experiments entered.")
CHAOS_FAULTS = _counter("chaos_faults", ("experiment", "fault", "to"), "Faults that were injected, and seen gone.")
CHAOS_VERDICTS = _counter("chaos_verdicts", ("experiment", "verdict"), "Runs of chaos experiments, by verdict.")
SPANS = _counter("spans", ("outcome",), "Finished spans that were sent or dropped.")
BUILD = _gauge("build_info", ("version", "python"), "Always 1; the labels say what runs.")

METRICS = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every number that ``/metrics`` may show: those above."""

EVENTS = (
    Row(api.ResponseBroke, ERROR, "an answer of {endpoint} broke its schema and was sent: {errors}",
        (Count(BROKEN_ANSWERS, ("endpoint",)),)),

    Row(models.Predicted, DEBUG, "{model} version {version} predicted {rows} rows in {seconds:.4f} s",
        (Count(PREDICTIONS, ("model", "version")), Count(PREDICTED_ROWS, ("model", "version"), amount="rows"))),
    Row(models.ModelPublished, INFO, "{model} has version {version}, served by {engine}",
        (Count(PUBLISHED, ("model", "engine")),)),
    Row(models.AliasMoved, INFO, "{alias} of {model} points at version {version}",
        (Count(ALIAS_MOVES, ("model", "alias")),)),

    Row(breaker.CircuitOpened, WARNING, "circuit {name} is open: {because}",
        (Count(CIRCUIT_MOVES, ("name", "=open")),)),
    Row(breaker.CircuitHalfOpened, INFO, "circuit {name} lets probes through: {because}",
        (Count(CIRCUIT_MOVES, ("name", "=half_open")),)),
    Row(breaker.CircuitClosed, INFO, "circuit {name} is closed: {because}",
        (Count(CIRCUIT_MOVES, ("name", "=closed")),)),
    Row(breaker.CircuitOverridden, WARNING, "an operator put circuit {name} under the mode {mode}; it is {state}",
        (Count(CIRCUIT_OVERRIDES, ("name", "mode")),)),
    Row(breaker.CircuitStoreLost, WARNING, "circuit {name} decides alone: {reason}",
        (Count(CIRCUIT_STORE, ("name", "=lost")),)),
    Row(breaker.CircuitStoreFound, INFO, "circuit {name} follows the fleet again",
        (Count(CIRCUIT_STORE, ("name", "=found")),)),

    Row(experiments.ExperimentChanged, INFO, "experiment {experiment} is {status}: {reason}",
        (Count(EXPERIMENT_CHANGES, ("experiment", "status")),)),
    Row(experiments.ExperimentDecided, INFO, "experiment {experiment} decided {decision} ({variant}): {reason}",
        (Count(EXPERIMENT_DECISIONS, ("experiment", "decision")),)),
    Row(experiments.ExperimentLogStalled, ERROR, "experiment events cannot be written, {waiting} wait: {reason}",
        (Count(EXPERIMENT_LOG, ("=stalled",)),)),
    Row(experiments.ExperimentLogRecovered, WARNING, "experiment events are written again: {written}; lost: {dropped}",
        (Count(EXPERIMENT_LOG, ("=recovered",)), Count(EXPERIMENT_DROPS, amount="dropped"))),

    Row(delivery.TrafficShifted, INFO, "rollout {rollout}: {version} was given {asked:g} % and has {share:g} %",
        (Count(TRAFFIC_SHIFTS, ("rollout",)),)),
    Row(delivery.RolloutMoved, INFO, "rollout {rollout} ({rollout_kind}) is in {phase}, step {step}: {because}",
        (Count(ROLLOUT_MOVES, ("rollout", "rollout_kind", "phase")),)),

    Row(tls.CertificateSwapped, INFO, "certificate {certificate} is served with serial number {serial}",
        (Count(CERTIFICATE_SWAPS, ("certificate", "=swapped")),)),
    Row(tls.CertificateSwapFailed, ERROR, "certificate {certificate} stays as it was: {reason}",
        (Count(CERTIFICATE_SWAPS, ("certificate", "=failed")),)),
    Row(tls.CertificateRenewed, INFO, "{domain} has a new certificate, serial number {serial}",
        (Count(RENEWALS, ("domain", "=issued")),)),
    Row(tls.RenewalFailed, ERROR, "{domain} has no new certificate: {reason}",
        (Count(RENEWALS, ("domain", "=failed")),)),
    Row(tls.RenewalAdvised, INFO, "{domain} is to be renewed from {start:.0f} to {end:.0f}; why: {explanation}",
        (Count(RENEWAL_ADVICE, ("domain",)),)),
    Row(tls.HandshakeFailed, DEBUG, "no TLS connection with {peer}: {reason}",
        (Count(HANDSHAKE_FAILURES),)),
    Row(tls.ClientCertificateRefused, WARNING, "{peer} was refused, its certificate {serial} is for {subject}: {fault}",
        (Count(CLIENT_REFUSALS, ("fault",)),)),

    Row(access.CallRefused, INFO, "{operation} was refused to {subject}: {refusal}",
        (Count(ACCESS_REFUSALS, ("refusal",)),)),
    Row(access.SignedIn, INFO, "{subject} signed in from {address}",
        (Count(SIGN_INS, ("=signed_in",)),)),
    Row(access.SignInFailed, WARNING, "nobody was signed in from {address}: {reason}",
        (Count(SIGN_INS, ("=failed",)),)),
    Row(access.SignedOut, INFO, "{subject} signed out",
        (Count(SIGN_INS, ("=signed_out",)),)),
    Row(access.LimitReached, INFO, "{subject} reached the limit {limit}",
        (Count(LIMITS_REACHED, ("limit",)),)),
    Row(access.SharedLimitsLost, ERROR, "limits are counted by each process alone: {reason}",
        (Count(SHARED_LIMITS, ("=lost",)),)),
    Row(access.SharedLimitsBack, INFO, "limits are shared again after {away_seconds:.1f} s",
        (Count(SHARED_LIMITS, ("=back",)),)),
    Row(access.SigningKeysRead, INFO, "{issuer} has {keys} signing keys",
        (Count(SIGNING_KEYS, ("issuer", "=read")),)),
    Row(access.SigningKeysUnreadable, ERROR, "the signing keys of {issuer} stay as they were: {reason}",
        (Count(SIGNING_KEYS, ("issuer", "=failed")),)),

    Row(storage.BackupMade, INFO, "backed up to {name}: {size} bytes in {seconds:.1f} s",
        (Count(BACKUPS, ("=made",)),)),
    Row(storage.BackupFailed, ERROR, "the backup failed: {reason}",
        (Count(BACKUPS, ("=failed",)),)),

    Row(chaos.ChaosPhaseBegan, INFO, "chaos experiment {experiment}, run {run}: {phase}",
        (Count(CHAOS_PHASES, ("experiment", "phase")),)),
    Row(chaos.FaultInjected, WARNING, "chaos experiment {experiment}, run {run}: {fault} is in place",
        (Count(CHAOS_FAULTS, ("experiment", "fault", "=injected")),)),
    Row(chaos.FaultLifted, INFO, "chaos experiment {experiment}, run {run}: {fault} is gone",
        (Count(CHAOS_FAULTS, ("experiment", "fault", "=lifted")),)),
    Row(chaos.ChaosJudged, INFO, "chaos experiment {experiment}, run {run} is {verdict}: {because}",
        (Count(CHAOS_VERDICTS, ("experiment", "verdict")),)),
)
# fmt: on
"""What becomes of each event. The span event and the log record carry all its fields, named ``room.field``."""
