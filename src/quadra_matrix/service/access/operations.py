"""What each operation of the service needs. One table: the guard enforces it and the documents show it."""

from __future__ import annotations

from collections.abc import Mapping

from quadra_matrix.access.identity import KNOWN, PUBLIC

READ = "read"
"""Look at jobs, data sets, models and experiments."""
PREDICT = "predict"
"""Ask models, and report what came of it."""
WRITE = "write"
"""Upload data, train, cancel, point aliases at versions, send traces."""
OPERATE = "operate"
"""Change what a running service does: circuits, experiments; see how it works inside."""
METRICS = "metrics"
"""Read the numbers of ``/metrics``."""

NEEDS: Mapping[str, str] = {
    "health": PUBLIC,
    "health.prometheus": METRICS,
    "quadra_api": PUBLIC,  # its own password stands before it where there is one
    "train": READ,
    "train.train": WRITE,
    "train.cancel": WRITE,
    "datasets": READ,
    "datasets.upload": WRITE,
    "datasets.removed": WRITE,
    "models": READ,
    "models.alias_moved": WRITE,
    "predict": PREDICT,
    "inference_protocol": PREDICT,
    "inference_protocol.live": PUBLIC,
    "inference_protocol.is_ready": PUBLIC,
    "session": KNOWN,
    "session.open_session": PUBLIC,
    "experiments": READ,
    "experiments.create_experiment": OPERATE,
    "experiments.change_experiment": OPERATE,
    "experiments.report_outcome": PREDICT,
    "model_experiments": OPERATE,
    "circuit_breakers": OPERATE,
    "traces": OPERATE,
    "traces.receive": WRITE,
}
"""Endpoint, or blueprint for all that it does not name, to the scope. What stands nowhere needs ``OPERATE``."""
