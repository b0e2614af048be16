"""Others who decide about pods: autoscalers, which are led along, and disruption budgets, which are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.cluster import Objects, Resource
from quadra_matrix.delivery.kubernetes.patches import Json, drop, fence, put, swap, test
from quadra_matrix.delivery.kubernetes.slots import Slot
from quadra_matrix.errors import RolloutRefused


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler of a Deployment."""

    name: str
    least: int
    most: int
    before: str | None
    """What a rollout has to put back, as the annotation has it."""
    metadata: Json


class Scaling:
    """The autoscaler of one Deployment.

    While a rollout is under way its lower bound is the number that the rollout asks for: so it never takes away what
    the rollout needs, and may still add pods when there is more to do. The rollout takes those into its total.
    """

    def __init__(self, objects: Objects, deployment: str) -> None:
        self._objects, self._deployment = objects, deployment

    def find(self) -> Autoscaler | None:
        """Return the autoscaler, where there is one."""
        for one in self._objects.list(Resource.AUTOSCALER, {}):
            target = one["spec"]["scaleTargetRef"]
            if target.get("kind") == "Deployment" and target.get("name") == self._deployment:
                return autoscaler_of(one)
        return None

    def lead(self, pods: int) -> bool:
        """Let the autoscaler take no pod of these away; tell whether there is one."""
        found = self.find()
        if found is None:
            return False
        least, most = max(1, pods), max(found.most, pods)
        if (least, most) != (found.least, found.most) or found.before is None:
            self._objects.patch(Resource.AUTOSCALER, found.name, led(found, least, most))
        return True

    def release(self) -> None:
        """Give the autoscaler its own bounds back."""
        found = self.find()
        if found is not None and found.before is not None:
            self._objects.patch(Resource.AUTOSCALER, found.name, freed(found, found.before))


def autoscaler_of(body: Json) -> Autoscaler:
    """Return an autoscaler as a value."""
    metadata, spec = body["metadata"], body["spec"]
    annotations = metadata.get("annotations") or {}
    return Autoscaler(
        metadata["name"],
        spec.get("minReplicas", 1),
        spec["maxReplicas"],
        annotations.get(names.BEFORE),
        metadata,
    )


def led(one: Autoscaler, least: int, most: int) -> list[Json]:
    """Return the patch that changes the bounds and remembers those of before."""
    found = fence(one.metadata, names.BEFORE)
    if one.before is None:
        bounds = json.dumps({"least": one.least, "most": one.most})
        found.append(put(bounds, "metadata", "annotations", names.BEFORE))
    return [*found, *swap(one.most, most, "spec", "maxReplicas"), *swap(one.least, least, "spec", "minReplicas")]


def freed(one: Autoscaler, before: str) -> list[Json]:
    """Return the patch that puts the bounds back."""
    bounds: Mapping[str, int] = json.loads(before)
    place = ("metadata", "annotations", names.BEFORE)
    return [
        test(before, *place),
        *swap(one.least, bounds["least"], "spec", "minReplicas"),
        *swap(one.most, bounds["most"], "spec", "maxReplicas"),
        drop(*place),
    ]


def kept_by_budgets(objects: Objects, *slots: Slot) -> int:
    """Return the ready pods that a disruption budget wants among these Deployments together.

    A share, and ``maxUnavailable``, follow the number of pods that is asked for, so a rollout never undercuts them.
    Raises ``RolloutRefused`` for a budget that holds fast to some of the Deployments only.
    """
    kept = 0
    for budget in objects.list(Resource.BUDGET, {}):
        least = budget["spec"].get("minAvailable")
        chosen = [slot for slot in slots if _chooses(budget["spec"].get("selector") or {}, slot.labels)]
        if not isinstance(least, int) or not chosen:
            continue
        if len(chosen) < len(slots):
            name, held = budget["metadata"]["name"], chosen[0].name
            raise RolloutRefused(
                f"PodDisruptionBudget {name} keeps {least} pods of {held} alone, and a rollout by replicas empties it "
                f"at the promotion; let it select {names.APP}={chosen[0].labels.get(names.APP)}"
            )
        kept = max(kept, least)
    return kept


def _chooses(selector: Json, labels: Mapping[str, str]) -> bool:
    """Tell whether a budget selects pods with these labels."""
    wanted = selector.get("matchLabels") or {}
    fits = all(labels.get(key) == value for key, value in wanted.items())
    return fits and all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(one: Json, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(one["key"]), one.get("values") or []
    found = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return found[one["operator"]]
