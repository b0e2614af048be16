"""The controllers of the cluster, in the order in which they act."""

from __future__ import annotations

from collections.abc import Sequence

from quadra_matrix.testing.kubernetes.cluster import Controller
from quadra_matrix.testing.kubernetes.controllers.autoscaler import Autoscalers
from quadra_matrix.testing.kubernetes.controllers.collector import Collector
from quadra_matrix.testing.kubernetes.controllers.deployments import Deployments
from quadra_matrix.testing.kubernetes.controllers.disruption import DisruptionBudgets
from quadra_matrix.testing.kubernetes.controllers.endpoints import EndpointsOfServices
from quadra_matrix.testing.kubernetes.controllers.jobs import Jobs
from quadra_matrix.testing.kubernetes.controllers.kubelet import Kubelet
from quadra_matrix.testing.kubernetes.controllers.replicasets import ReplicaSets
from quadra_matrix.testing.kubernetes.controllers.routes import Routes


def ordinary_controllers() -> Sequence[Controller]:
    """Return what runs in every cluster."""
    return (
        Collector(),
        Autoscalers(),
        Deployments(),
        ReplicaSets(),
        Jobs(),
        Kubelet(),
        EndpointsOfServices(),
        DisruptionBudgets(),
        Routes(),
    )
