"""Faults of the way to the target, by a proxy in front of it: latency, errors, aborts, resets, bandwidth, absence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from quadra_matrix.chaos import dose
from quadra_matrix.chaos.dose import Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.proxy.disturbance import Disturbance
from quadra_matrix.chaos.proxy.launch import Proxy
from quadra_matrix.chaos.samples import Sample

Measure = Callable[[Sequence[Sample], Sequence[Sample]], Dose]


@dataclass(frozen=True, slots=True)
class Latency:
    """Hold every answer back."""

    milliseconds: float
    jitter: float = 0.0
    """Milliseconds more or less, evenly spread."""
    share: float = 1.0
    """Share of the requests that are held back."""
    listen: str = "127.0.0.1:0"
    """Where the proxy listens; port 0: any that is free."""
    fault: Literal["latency"] = "latency"

    def __post_init__(self) -> None:
        self._disturbance()

    def lacks(self, scene: Scene) -> str | None:
        """Return nothing: a proxy runs everywhere."""
        return None

    def arm(self, scene: Scene) -> Armed:
        """Start a transparent proxy in front of the target."""
        asked = self.milliseconds / 1000
        return behind_proxy(
            scene, self._disturbance(), lambda before, during: dose.added_latency(asked, before, during), self.listen
        )

    def _disturbance(self) -> Disturbance:
        return Disturbance(latency=self.milliseconds / 1000, jitter=self.jitter / 1000, share=self.share)


def behind_proxy(scene: Scene, disturbance: Disturbance, measure: Measure, listen: str) -> Armed:
    """Return a fault that is a disturbance by a proxy in front of the target."""
    proxy = Proxy(scene.address, listen=listen, control=scene.folder / f"proxy-{len(list(scene.folder.iterdir()))}")
    return Armed(
        proxy.undo,
        lambda: proxy.disturb(disturbance, seed=scene.seed, lease=scene.lease),
        measure,
        renew=proxy.renew,
        close=proxy.close,
        address=proxy.address,
    )
