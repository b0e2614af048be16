"""How images behave once a pod runs them, and how many pods the cluster has room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quadra_matrix.errors import require


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to a pod, as its handler sees it."""

    method: str
    path: str
    """The path within the pod, such as ``/metrics``."""
    query: str
    headers: Mapping[str, str]
    body: bytes
    pod: str
    port: int


@dataclass(frozen=True, slots=True)
class Said:
    """A pod's answer."""

    status: int = 200
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"


Handler = Callable[[Asked], Said]
"""Answers requests to a pod; called outside the cluster's lock, from the server's threads."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a pod does that runs this image."""

    ready_after: float = 1.0
    """Seconds from a pod's start to its readiness; infinity for never."""
    fails: str | None = None
    """Why its container waits for ever: ``ErrImagePull``, ``ImagePullBackOff`` or ``CrashLoopBackOff``."""
    crashes_after: float = float("inf")
    """Seconds of life after which its container ends with an error, again and again."""
    stops_after: float = 0.0
    """Seconds from a pod's deletion to its end; at most its grace period."""
    runs_for: float = 1.0
    """Seconds that a Job's pod runs."""
    exit_code: int = 0
    """What a Job's pod ends with."""
    process: bool = False
    """Whether a Job's pod really starts the command of its container, as a process on this machine."""
    output: str = ""
    """What a pod's log holds."""
    answer: Handler | None = None
    """Answers requests that come through the API server's proxy."""

    def __post_init__(self) -> None:
        for name in ("ready_after", "crashes_after", "stops_after", "runs_for"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


MISSING = Image(ready_after=float("inf"), fails="ErrImagePull")
"""An image that no registry has."""


def behaviour(images: Mapping[str, Image], used: Sequence[str]) -> Image:
    """Return how a pod behaves: as the first of its images that something is known of, else as an ordinary one.

    ``images`` has full names (``shop:2``) or names without tag (``shop``); the full name wins.
    """
    for name in used:
        found = images.get(name) or images.get(name.rpartition(":")[0])
        if found is not None:
            return found
    return Image()
