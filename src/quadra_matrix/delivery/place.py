"""Where versions are delivered: this machine, or a cluster and how it splits its traffic; values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from quadra_matrix.errors import require

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
VERSION_IN_IMAGE = ":{version}"


class Platform(StrEnum):
    """What runs the versions."""

    LOCAL = "local"
    """Processes behind one proxy on this machine."""
    KUBERNETES = "kubernetes"
    """Deployments and Services of a cluster."""


class Split(StrEnum):
    """How a canary gets its share of the traffic on a cluster."""

    REPLICAS = "replicas"
    """By the number of pods behind one Service: shares are whole pods."""
    GATEWAY = "gateway"
    """By the weights of a Gateway API HTTPRoute: shares are whole percents."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place where versions are delivered."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    platform: Platform = Platform.LOCAL
    """local or kubernetes."""
    namespace: str | None = None
    """Namespace of the cluster; the context's own without one."""
    context: str | None = None
    """Context of the kubeconfig; the current one without one."""
    name: str = "quadra-matrix"
    """What the names of the objects begin with, and the label ``app`` of the pods."""
    split: Split = Split.REPLICAS
    """replicas or gateway."""
    image: str | None = None
    """Image with {version} as its tag; the one that runs, with another tag, without one."""

    def __post_init__(self) -> None:
        for field in ("namespace", "name"):
            given = getattr(self, field)
            fits = given is None or NAME.fullmatch(given) is not None
            require(fits, f"place.{field}", given, "1 to 42 lower-case letters, digits and dashes")
        ends = self.image is None or self.image.endswith(VERSION_IN_IMAGE)
        require(ends, "place.image", self.image, f"an image that ends with {VERSION_IN_IMAGE}")
