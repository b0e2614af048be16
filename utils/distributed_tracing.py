"""The promised import name of ``quadra_matrix.telemetry``."""

from quadra_matrix.telemetry.flask import setup_distributed_tracing

__all__ = ["setup_distributed_tracing"]
