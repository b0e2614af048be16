"""Stable and canary as a place where versions run: the canary comes and goes, stable is put in its place at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.board import Board, Change, before_of, closed
from quadra_matrix.delivery.kubernetes.gateway import GatewayTraffic
from quadra_matrix.delivery.kubernetes.replicas import ready_of, route_of
from quadra_matrix.delivery.kubernetes.scaling import Scaling
from quadra_matrix.delivery.kubernetes.slots import Before, Slot, Slots, image_of
from quadra_matrix.delivery.model import Readiness
from quadra_matrix.delivery.place import VERSION_IN_IMAGE
from quadra_matrix.errors import ObjectRefused, RolloutRefused, StartRefused

Address = Callable[[str, int], str]
"""Returns the address of a pod's port."""


class CanaryWorkload:
    """The ``Workload`` of a stable and a canary Deployment.

    The first change of each Deployment remembers what was there before in the same patch, so that a rollback from
    anywhere puts exactly that back. Every method does the next thing that can be done, and is called again.
    """

    def __init__(
        self,
        board: Board,
        scaling: Scaling,
        address: Address,
        *,
        image: str | None = None,
        gateway: GatewayTraffic | None = None,
    ) -> None:
        """With a ``gateway`` shares are weights; without one they are pods."""
        self._board, self._scaling, self._address, self._image = board, scaling, address, image
        self._gateway, self._by_replicas = gateway, gateway is None

    def start(self, version: str) -> None:
        """Start a version in the canary's place; start stable again in its own."""
        try:
            self._start(version, self._board.now())
        except ObjectRefused as refused:
            raise StartRefused(version, refused.reason) from refused

    def ready(self, version: str) -> Readiness:
        """Return how many pods answer."""
        return readiness(self._board.recent().holding(version), self._address)

    def settle(self, version: str) -> bool:
        """Make stable run the canary's version, at its full number; tell whether it does."""
        stable, canary = self._board.now().both
        opened = stable.opened
        if opened is None:
            return stable.version == version
        replicas = opened.total - self._kept(canary)
        if stable.version != version:
            self._board.change(stable, Change(replicas, canary.image, version))
        elif stable.replicas < replicas:
            self._board.change(stable, Change(replicas))
        self._scaling.lead(replicas)
        return stable.version == version and stable.ready >= replicas

    def stop(self, version: str) -> bool:
        """Put the canary back to what it was before; after a promotion with the new version."""
        slots = self._board.now()
        opened = slots.first.opened
        if self._share(slots, version):
            raise RolloutRefused(f"{version} still gets traffic")
        if opened is None:
            return True
        if version == opened.candidate:
            return self._restore(slots, opened)
        if slots.first.version != opened.candidate:
            raise RolloutRefused(f"{slots.first.name} runs {slots.first.version}, not {opened.candidate}")
        return self._finish(slots, opened)

    def _start(self, version: str, slots: Slots) -> None:
        stable, canary = slots.both
        held, before = slots.holding(version), stable.before
        if held:
            self._wake(held[0], before)
        elif before is not None and (version, stable.version) == (before.stable, before.candidate):
            again = replace(before, is_open=True)
            self._board.change(stable, back_to(before, before.total, again.text()))
            self._scaling.lead(before.total)
        elif self._opened(slots, version):
            remembered = before_of(canary, stable.version, version, total=0, floor=0)
            image = (self._image or image_of(stable.image, version)).replace(VERSION_IN_IMAGE, f":{version}")
            traffic = names.NONE if self._by_replicas else None
            self._board.change(canary, Change(1, image, version, traffic, remembered.text()))

    def _wake(self, slot: Slot, before: Before | None) -> None:
        """Give a Deployment without pods some again."""
        if slot.replicas:
            return
        if slot.track == names.STABLE:
            total = before.total if before is not None else 1
            self._board.change(slot, Change(total))
            self._scaling.lead(total)
        else:
            self._board.change(slot, Change(1))

    def _opened(self, slots: Slots, version: str) -> bool:
        """Begin: stable takes over what the canary's pods do. Tell whether it has."""
        stable, canary = slots.both
        opened = stable.opened
        if opened is None or opened.candidate != version:
            serves = self._by_replicas and canary.is_live
            total = stable.replicas + (canary.replicas if serves else 0)
            floor = ready_of(slots).total if self._by_replicas else stable.ready
            found = before_of(stable, stable.version, version, total=total, floor=floor)
            if opened is not None and opened.stable == stable.version:  # a rollout whose record was lost
                found = replace(opened, candidate=version)
            self._board.change(stable, Change(found.total, before=found.text()))
            return False
        # Not before that patch: an autoscaler that acts between the two would change what is remembered.
        self._scaling.lead(opened.total)
        if stable.replicas < opened.total:
            self._board.change(stable, Change(opened.total))
            return False
        return stable.ready >= opened.floor

    def _restore(self, slots: Slots, opened: Before) -> bool:
        """Put both Deployments back, the canary first; tell whether that is done."""
        stable, canary = slots.both
        before = canary.before
        if before is not None:
            self._board.change(canary, back_to(before, before.replicas, ""))
            return False
        last = opened.total - (canary.replicas if self._serves(canary) else 0)
        if self._by_replicas and ready_of(slots).canary + min(stable.ready, last) < opened.floor:
            return False
        self._scaling.release()
        self._board.change(stable, Change(last, before=""))
        return True

    def _finish(self, slots: Slots, opened: Before) -> bool:
        """Give the canary the number of pods that it had; tell whether that is done."""
        stable, canary = slots.both
        kept = self._kept(canary)
        if stable.ready + (min(canary.ready, kept) if self._by_replicas else 0) < min(opened.floor, opened.total):
            return False
        if self._gateway:
            self._gateway.hand_over()
        before = canary.opened
        if before is not None:
            self._board.change(canary, Change(before.replicas, before=closed(before)))
        self._scaling.release()
        self._board.change(stable, Change(before=closed(opened)))
        return True

    def _kept(self, canary: Slot) -> int:
        """Return the pods behind the Service that the canary has outside of rollouts."""
        before = canary.before
        return before.replicas if self._by_replicas and before and before.traffic == names.LIVE else 0

    def _serves(self, canary: Slot) -> bool:
        return self._by_replicas and canary.is_live

    def _share(self, slots: Slots, version: str) -> float:
        """Return the percent that a version gets."""
        if self._gateway:
            return self._gateway.read().route.share(version)
        return route_of(slots, self._board.app.service).share(version)


def back_to(before: Before, replicas: int, annotation: str) -> Change:
    """Return the change that puts back what was there before."""
    return Change(replicas, before.image, before.label or "", before.traffic or "", annotation)


def readiness(slots: tuple[Slot, ...], address: Address) -> Readiness:
    """Return how many pods of the version of some Deployments answer, and where; behind the Service or not yet."""
    pods = [pod for slot in slots for pod in slot.pods if pod.version == slot.version and not pod.is_ending]
    ready = [pod for pod in pods if pod.is_ready]
    trouble = [pod.trouble for pod in pods if pod.trouble and not pod.is_ready] + [slot.trouble for slot in slots]
    return Readiness(
        len(ready),
        sum(slot.replicas for slot in slots),
        sum(pod.restarts for pod in pods),
        tuple(address(pod.name, pod.port) for pod in ready),
        next(filter(None, trouble), ""),
    )
