"""Deletion: at once or in time, with preconditions, alone or with what is owned."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.answers import Answer
from quadra_matrix.testing.kubernetes.bodies import json_body
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.kinds import JOB
from quadra_matrix.testing.kubernetes.objects import Json, dig, name_of
from quadra_matrix.testing.kubernetes.problems import conflict
from quadra_matrix.testing.kubernetes.reading import Reader
from quadra_matrix.testing.kubernetes.requests import Request, Target


@dataclass(frozen=True, slots=True)
class Deleter:
    """Deletes objects."""

    cluster: Cluster

    def one(self, request: Request, target: Target) -> Answer:
        """Delete an object. Raises a 404, or a 409 when it is not the one that the client means."""
        options = _options(request)
        thing = self.cluster.storage.get(target.key)
        wanted = options.get("preconditions") or {}
        for name in ("uid", "resourceVersion"):
            found = thing["metadata"][name]
            if wanted.get(name) not in {None, found}:
                why = f"Precondition failed: {name} in precondition: {wanted[name]}, {name} in object meta: {found}"
                raise conflict(target.kind.plural, target.kind.group, target.name, why)
        return Answer.json(self._delete(request, target, thing, options))

    def many(self, request: Request, target: Target) -> Answer:
        """Delete the objects that a request chooses."""
        reader, options = Reader(self.cluster), _options(request)
        chosen = reader.list(request, target)
        for thing in chosen["items"]:
            self._delete(request, target, thing, options)
        return Answer.json(chosen)

    def _delete(self, request: Request, target: Target, thing: Json, options: Json) -> Json:
        """Delete an object and return what the server says of it."""
        if request.is_dry or options.get("dryRun"):
            return thing
        # The pods of a Job outlive it unless the client says otherwise, in the real server too.
        policy = options.get("propagationPolicy") or ("Orphan" if target.kind is JOB else "Background")
        if policy == "Orphan" or options.get("orphanDependents"):
            self._orphan(thing)
        self.cluster.delete(target.kind, thing, options.get("gracePeriodSeconds"))
        self.cluster.settled()
        left = self.cluster.storage.find(self.cluster.key(target.kind, thing))
        if left is not None:
            return left
        details = {"name": name_of(thing), "group": target.kind.group, "kind": target.kind.plural}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {**details, "uid": thing["metadata"]["uid"]},
        }

    def _orphan(self, owner: Json) -> None:
        """Make an object the owner of nothing."""
        uid = owner["metadata"]["uid"]
        for key in self.cluster.storage.places():
            thing = self.cluster.storage.get(key)
            owners = dig(thing, "metadata", "ownerReferences", default=[])
            if any(each["uid"] == uid for each in owners):
                thing["metadata"]["ownerReferences"] = [each for each in owners if each["uid"] != uid]
                self.cluster.update(key.kind, thing)


def _options(request: Request) -> Json:
    """Return how to delete: from the query and from the body."""
    names = ("propagationPolicy", "gracePeriodSeconds", "dryRun")
    options: Json = {name: request.query[name] for name in names if name in request.query}
    if request.body.strip():
        options |= json_body(request)
    if options.get("gracePeriodSeconds") is not None:
        options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
    return options
