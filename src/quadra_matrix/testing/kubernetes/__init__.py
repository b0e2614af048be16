"""A strict fake Kubernetes API server, for our tests and yours: real HTTP, real rules, simulated time."""

from quadra_matrix.testing.kubernetes.faults import Fault, Faults
from quadra_matrix.testing.kubernetes.front import Seen
from quadra_matrix.testing.kubernetes.history import History, Instant, ReadyPod
from quadra_matrix.testing.kubernetes.images import MISSING, Asked, Image, Said
from quadra_matrix.testing.kubernetes.processes import Processes
from quadra_matrix.testing.kubernetes.proxy import forward_to
from quadra_matrix.testing.kubernetes.server import FakeKubernetes

__all__ = [
    "MISSING",
    "Asked",
    "FakeKubernetes",
    "Fault",
    "Faults",
    "History",
    "Image",
    "Instant",
    "Processes",
    "ReadyPod",
    "Said",
    "Seen",
    "forward_to",
]
