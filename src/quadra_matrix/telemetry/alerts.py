"""What an operator is woken or told for, as expressions over the one table. The files of ``k8s/monitoring`` say it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from quadra_matrix.telemetry.table import (
    BACKUPS,
    BROKEN_ANSWERS,
    BUILD,
    CERTIFICATE_SWAPS,
    CHAOS_FAULTS,
    CIRCUIT_STATE,
    CIRCUIT_STORE,
    DURATIONS,
    EXPERIMENT_DROPS,
    EXPERIMENT_LOG,
    JOBS,
    REQUESTS,
    SHARED_LIMITS,
    SIGN_INS,
    SIGNING_KEYS,
    SPANS,
    Metric,
)


class Severity(enum.StrEnum):
    """Who has to look, and when."""

    CRITICAL = "critical"
    """Somebody, now: callers are hurt or data is lost."""
    WARNING = "warning"
    """Somebody, today."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that Prometheus watches."""

    name: str
    holds: str
    """Expression that has a value while something is wrong."""
    lasting: str
    """How long it has to hold, as Prometheus writes durations."""
    severity: Severity
    says: str
    """One line for a person; ``{{ $labels.circuit }}`` stands for a label."""


def _grew(metric: Metric, within: str, **labels: str) -> str:
    """Return the expression of a counter that grew, also of one that did not exist before: that began with its 1."""
    chosen = ",".join(f'{label}="{value}"' for label, value in labels.items())
    series = f"{metric.name}{{{chosen}}}" if chosen else metric.name
    return f"increase({series}[{within}]) > 0 or ({series} unless {series} offset {within}) > 0"


def _rate(metric: Metric, chosen: str = "") -> str:
    return f"sum(rate({metric.name}{chosen}[5m]))"


ALERTS = (
    Alert("QuadraMatrixAbsent", f"absent({BUILD.name})", "5m", Severity.CRITICAL, "no Quadra Matrix answers a scrape"),
    Alert(
        "RequestsFail",
        f'{_rate(REQUESTS, """{status=~"5.."}""")} / {_rate(REQUESTS)} > 0.05',
        "5m",
        Severity.CRITICAL,
        "{{ $value | humanizePercentage }} of the requests fail",
    ),
    Alert(
        "RequestsAreSlow",
        f"histogram_quantile(0.99, sum by (le) (rate({DURATIONS.name}_bucket[5m]))) > 2.5",
        "10m",
        Severity.WARNING,
        "one request in a hundred takes longer than {{ $value | humanizeDuration }}",
    ),
    Alert(
        "AnswersBreakTheirSchema",
        _grew(BROKEN_ANSWERS, "15m"),
        "0m",
        Severity.WARNING,
        "{{ $labels.endpoint }} sends answers that break its schema",
    ),
    Alert(
        "TrainingQueueIsLong",
        f'max({JOBS.name}{{state="queued"}}) > 50',
        "15m",
        Severity.WARNING,
        "{{ $value }} training jobs wait",
    ),
    Alert(
        "CircuitStaysOpen",
        f"max by (circuit) ({CIRCUIT_STATE.name}) == 1",
        "5m",
        Severity.WARNING,
        "the circuit {{ $labels.circuit }} has been open for five minutes",
    ),
    Alert(
        "CircuitDecidesAlone",
        _grew(CIRCUIT_STORE, "15m", to="lost"),
        "0m",
        Severity.WARNING,
        "the circuit {{ $labels.circuit }} lost the store that its fleet shares",
    ),
    Alert(
        "SharedLimitsLost",
        _grew(SHARED_LIMITS, "15m", to="lost"),
        "0m",
        Severity.WARNING,
        "limits are counted by each process alone: their store does not answer",
    ),
    Alert(
        "SignInsFail",
        f'increase({SIGN_INS.name}{{outcome="failed"}}[10m]) > 50',
        "0m",
        Severity.WARNING,
        "{{ $value | humanize }} sign-ins failed in ten minutes: somebody may be guessing",
    ),
    Alert(
        "SigningKeysCannotBeRead",
        _grew(SIGNING_KEYS, "15m", outcome="failed"),
        "0m",
        Severity.WARNING,
        "the signing keys of {{ $labels.issuer }} cannot be read; tokens may soon be refused",
    ),
    Alert(
        "ExperimentEventsWait",
        _grew(EXPERIMENT_LOG, "15m", to="stalled"),
        "0m",
        Severity.WARNING,
        "events of experiments cannot be written and wait in memory",
    ),
    Alert(
        "ExperimentEventsLost",
        _grew(EXPERIMENT_DROPS, "15m"),
        "0m",
        Severity.CRITICAL,
        "events of experiments were lost; the results of these minutes miss them",
    ),
    Alert(
        "CertificateSwapFailed",
        _grew(CERTIFICATE_SWAPS, "1h", outcome="failed"),
        "0m",
        Severity.WARNING,
        "the new files of {{ $labels.certificate }} cannot be used; the old certificate goes on and will expire",
    ),
    Alert(
        "BackupFailed",
        _grew(BACKUPS, "6h", outcome="failed"),
        "0m",
        Severity.CRITICAL,
        "a scheduled backup could not be made",
    ),
    Alert(
        "FaultIsNotLifted",
        f'sum by (experiment, fault) ({CHAOS_FAULTS.name}{{to="injected"}})'
        f' - (sum by (experiment, fault) ({CHAOS_FAULTS.name}{{to="lifted"}})'
        f' or 0 * sum by (experiment, fault) ({CHAOS_FAULTS.name}{{to="injected"}})) > 0',
        "1h",
        Severity.CRITICAL,
        "the fault {{ $labels.fault }} of {{ $labels.experiment }} was injected an hour ago and is not seen gone",
    ),
    Alert(
        "SpansAreDropped",
        f'{_rate(SPANS, """{outcome="dropped"}""")} > 0',
        "10m",
        Severity.WARNING,
        "traces are incomplete: their receiver does not keep up or is away",
    ),
)
"""Every alert."""
