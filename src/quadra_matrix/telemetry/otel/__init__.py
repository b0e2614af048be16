"""Traces on OpenTelemetry: the only files that import it. Needs the extra ``tracing``."""

from quadra_matrix.telemetry.otel.tracing import Tracing, log_spans

__all__ = ["Tracing", "log_spans"]
