"""The promised import name of ``quadra_matrix.chaos``."""

from quadra_matrix.chaos.promised import (
    ChaosExperiment,
    DependencyFailureExperiment,
    ExperimentResult,
    LatencyInjectionExperiment,
    ResourceExhaustionExperiment,
    ServiceFailureExperiment,
)

__all__ = [
    "ChaosExperiment",
    "DependencyFailureExperiment",
    "ExperimentResult",
    "LatencyInjectionExperiment",
    "ResourceExhaustionExperiment",
    "ServiceFailureExperiment",
]
