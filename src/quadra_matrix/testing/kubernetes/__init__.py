"""A strict fake Kubernetes API server, for our tests and yours: real HTTP, real rules, simulated time."""

from quadra_matrix.testing.kubernetes.history import History, Instant, ReadyPod
from quadra_matrix.testing.kubernetes.images import MISSING, Asked, Image, Said
from quadra_matrix.testing.kubernetes.server import FakeKubernetes

__all__ = ["MISSING", "Asked", "FakeKubernetes", "History", "Image", "Instant", "ReadyPod", "Said"]
