"""Faults of the way to the target, or from it to a dependency, by a proxy: held back, refused, broken, narrow, away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.dependency import Kind, ping_of
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.model import Probing
from quadra_matrix.chaos.probe import Prober
from quadra_matrix.chaos.proxy.disturbance import Disturbance, Down
from quadra_matrix.chaos.proxy.launch import Proxy
from quadra_matrix.chaos.recovery import STRICT
from quadra_matrix.chaos.samples import Sample, errors_of
from quadra_matrix.errors import require

PINGS = 20.0
"""Times a second that a dependency is asked what arrived of a fault; the target's own probes do not see that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProxy(ABC):
    """A disturbance by a proxy: in front of the target, or of a dependency that the target reaches through it."""

    __pydantic_config__: ClassVar = STRICT

    dependency: str | None = None
    """``host:port`` of a dependency of the target; None: the way to the target itself is disturbed."""
    kind: Kind = Kind.HTTP
    """What the dependency speaks: decides how it is asked what arrived."""
    listen: str = "127.0.0.1:0"
    """Where the proxy listens. The target must be told to find its dependency there; port 0: any that is free."""

    def __post_init__(self) -> None:
        self.disturbance()
        free = self.listen.endswith(":0")
        require(not (self.dependency and free), "listen", self.listen, "a fixed port that the target is told")

    @abstractmethod
    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""

    @abstractmethod
    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure what arrived, from what passed the proxy before and during the fault.

        ``size`` are the bytes of a request and its answer.
        """

    def lacks(self, scene: Scene) -> str | None:
        """Return nothing: a proxy runs everywhere."""
        return None

    def arm(self, scene: Scene) -> Armed:
        """Start a proxy that disturbs nothing yet."""
        control = scene.folder / f"proxy-{len(list(scene.folder.iterdir()))}"
        proxy = Proxy(self.dependency or scene.address, listen=self.listen, control=control)
        if self.dependency is not None:
            return self._before_dependency(proxy, scene)
        return Armed(
            proxy.undo,
            lambda: proxy.disturb(self.disturbance(), seed=scene.seed, lease=scene.lease),
            lambda before, during: self.measured(before, during, proxy.bytes_a_request()),
            renew=proxy.renew,
            close=proxy.close,
            address=proxy.address,
        )

    def _before_dependency(self, proxy: Proxy, scene: Scene) -> Armed:
        """Return the fault with pings of its own through the proxy."""
        closing, injected = ExitStack(), [float("inf")]
        closing.callback(proxy.close)
        # One that hangs is known to after a second; one that is slow on purpose may be as slow as that, twice.
        probing = Probing(rate=PINGS, timeout=1.0 + 2 * self.disturbance().latency)
        pings = closing.enter_context(Prober(ping_of(self.kind, proxy.address), probing, scene.clock))

        def inject() -> None:
            proxy.disturb(self.disturbance(), seed=scene.seed, lease=scene.lease)
            injected[0] = pings.elapsed()

        def measured(before: Sequence[Sample], during: Sequence[Sample]) -> Dose:
            return self.measured(pings.seen(0.0, injected[0]), pings.seen(injected[0]), proxy.bytes_a_request())

        return Armed(proxy.undo, inject, measured, renew=proxy.renew, close=closing.close)


@dataclass(frozen=True, slots=True)
class Latency(ByProxy):
    """Hold every answer back."""

    milliseconds: float
    jitter: float = 0.0
    """Milliseconds more or less, evenly spread, drawn once a request."""
    share: float = 1.0
    """Share of the requests that are held back."""
    fault: Literal["latency"] = "latency"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        require(self.milliseconds > 0, "milliseconds", self.milliseconds, "above 0")
        return Disturbance(latency=self.milliseconds / 1000, jitter=self.jitter / 1000, share=self.share)

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the added latency; where only a share is held back, that share."""
        asked = self.milliseconds / 1000
        if self.share == 1:
            return dose.added_latency(asked, before, during)
        return dose.share_held(self.share, asked - self.jitter / 1000, before, during)


@dataclass(frozen=True, slots=True)
class Errors(ByProxy):
    """Answer requests with an error in the target's place."""

    share: float = 0.3
    status: int = 503
    fault: Literal["errors"] = "errors"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        return Disturbance(errors=self.share, status=self.status)

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the share of requests that failed."""
        return dose.share("requests answered with an error", self.share, errors_of(during))


@dataclass(frozen=True, slots=True)
class Aborts(ByProxy):
    """Close connections in place of an answer."""

    share: float = 0.3
    fault: Literal["aborts"] = "aborts"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        return Disturbance(aborts=self.share)

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the share of requests that failed."""
        return dose.share("requests aborted", self.share, errors_of(during))


@dataclass(frozen=True, slots=True)
class Resets(ByProxy):
    """Reset connections in place of an answer."""

    share: float = 0.3
    fault: Literal["resets"] = "resets"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        return Disturbance(resets=self.share)

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the share of requests that failed."""
        return dose.share("requests reset", self.share, errors_of(during))


@dataclass(frozen=True, slots=True)
class Bandwidth(ByProxy):
    """Let only so many bytes a second through, for each connection and direction."""

    kilobytes: float
    """Thousands of bytes a second."""
    fault: Literal["bandwidth"] = "bandwidth"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        require(self.kilobytes > 0, "kilobytes", self.kilobytes, "above 0")
        return Disturbance(bandwidth=1000 * self.kilobytes)

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the added time beside what a request and its answer should take."""
        asked = size / (1000 * self.kilobytes)
        return replace(dose.added_latency(asked, before, during), what=f"added time for {size:.0f} bytes a request")


@dataclass(frozen=True, slots=True)
class Away(ByProxy):
    """Be gone: reset every connection, or accept it and never answer."""

    how: Literal["reset", "hang"] = "reset"
    fault: Literal["away"] = "away"

    def disturbance(self) -> Disturbance:
        """Return what the proxy does."""
        return Disturbance(down=Down(self.how))

    def measured(self, before: Sequence[Sample], during: Sequence[Sample], size: float) -> Dose:
        """Measure the share of requests that got no answer."""
        return dose.share("requests without an answer", 1.0, errors_of(during))
