"""A/B testing: assign variants, log exposures durably, read results that stay true while you watch.

``ABTestingFramework`` is the door. ``assign``, ``targeting``, ``serve`` and ``lifecycle`` decide; ``log`` and
``segments`` keep events; ``aggregate`` and ``warehouse`` count them; ``analysis`` judges.
"""

from quadra_matrix.experiments.experiment import Experiment
from quadra_matrix.experiments.framework import ABTestingFramework
from quadra_matrix.experiments.serve import Assignment

__all__ = ["ABTestingFramework", "Assignment", "Experiment"]
