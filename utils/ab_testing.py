"""The promised import name of ``quadra_matrix.experiments``."""

from quadra_matrix.experiments import ABTestingFramework, Experiment
from quadra_matrix.experiments.flask import ab_test, setup_experiments

__all__ = ["ABTestingFramework", "Experiment", "ab_test", "setup_experiments"]
