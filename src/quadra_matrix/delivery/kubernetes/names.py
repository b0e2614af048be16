"""What the driver looks for on a cluster: names, labels and annotations; the manifests in k8s/ hold the same."""

from __future__ import annotations

from dataclasses import dataclass

APP = "app"
"""Label of every pod of a service: the name it is delivered under."""
TRACK = "track"
"""Label that tells the pods of the stable Deployment from those of the canary."""
STABLE, CANARY = "stable", "canary"
COLOUR = "colour"
"""Label that tells blue pods from green ones."""
VERSION = "version"
"""Label of a pod's version, for people and for Prometheus; the driver reads the image's tag."""
TRAFFIC = "traffic"
"""Label that the Service of a canary by replicas asks for."""
LIVE, NONE = "live", "none"
"""Values of ``traffic``: behind the Service, or not yet."""
REVISION = "quadra-matrix/revision"
"""Annotation that changes with every change of the traffic: what compare-and-swap compares."""
BEFORE = "quadra-matrix/before"
"""Annotation that holds what a rollout has to put back."""
PORT = "http"
"""Name of the container port that gets requests."""
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "quadra-matrix"


@dataclass(frozen=True, slots=True)
class Names:
    """The objects of one service."""

    app: str = "quadra-matrix"

    @property
    def service(self) -> str:
        """The Service in front of stable and canary."""
        return f"{self.app}-service"

    @property
    def production(self) -> str:
        """The Service in front of the active colour."""
        return f"{self.app}-production"

    @property
    def route(self) -> str:
        """The HTTPRoute in front of the Services of stable and canary."""
        return f"{self.app}-route"

    def slot(self, track: str) -> str:
        """Return the Deployment, and the Service, of a track or a colour."""
        return f"{self.app}-{track}"

    def record(self, kind: str) -> str:
        """Return the ConfigMap and the Lease of a kind of rollout."""
        return f"{self.app}-{kind}-rollout"
