"""Eviction of pods, and the question what somebody may do."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.answers import Answer
from quadra_matrix.testing.kubernetes.bodies import json_body
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.controllers.disruption import evict
from quadra_matrix.testing.kubernetes.objects import Json, dig
from quadra_matrix.testing.kubernetes.problems import bad_request
from quadra_matrix.testing.kubernetes.rbac import Deed, allowed
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.users import user_of

SUCCESS: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Subresources:
    """Answers what is created and never stored."""

    cluster: Cluster

    def evict(self, request: Request, target: Target) -> Answer:
        """Delete a pod unless a budget forbids it. Raises a 429 then."""
        eviction = json_body(request)
        if eviction.get("kind", "Eviction") != "Eviction":
            raise bad_request(f"{eviction['kind']} is no Eviction")
        pod = self.cluster.storage.get(target.key)
        if not request.is_dry:
            evict(self.cluster, pod, dig(eviction, "deleteOptions", "gracePeriodSeconds"))
            self.cluster.settled()
        return Answer.json({**SUCCESS, "code": 201}, 201)

    def review(self, request: Request) -> Answer:
        """Return whether who asks may do what the review is about."""
        review = json_body(request)
        may = allowed(self.cluster.storage, user_of(request), Deed.asked_about(review))
        return Answer.json({**review, "status": {"allowed": may}}, 201)
