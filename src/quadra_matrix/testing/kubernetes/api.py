"""The verbs of the API: get, list, watch, create, update, patch, delete and the subresources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quadra_matrix.testing.kubernetes.admission import Admission, Admitted
from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.objects import Json, clone, dig, name_of
from quadra_matrix.testing.kubernetes.patches import json_patched, merge_patched
from quadra_matrix.testing.kubernetes.problems import bad_request, conflict, not_allowed, unsupported_media
from quadra_matrix.testing.kubernetes.reading import Reader
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.scale import scale_of, scaled
from quadra_matrix.testing.kubernetes.schemas import Schemas
from quadra_matrix.testing.kubernetes.strategic import strategic_patched

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Api:
    """Does what requests ask for. Hold the cluster's lock around every call."""

    cluster: Cluster
    schemas: Schemas
    over: Callable[[], bool]
    """Tells whether the server is being stopped: watches end then."""

    @property
    def admission(self) -> Admission:
        """Return what checks the bodies."""
        return Admission(self.cluster, self.schemas)

    def answer(self, request: Request, target: Target) -> Answer | Stream:
        """Do what is asked and return the answer. Raises ``Refused``."""
        if target.verb == "watch":
            return Stream(Reader(self.cluster).watch(request, target, self.over, lambda thing: thing))
        if target.verb == "list":
            return Answer.json(Reader(self.cluster).list(request, target))
        if target.verb == "get":
            return self._get(target)
        if target.verb == "deletecollection":
            return self._delete_many(request, target)
        do = {"create": self._create, "update": self._update, "patch": self._patch, "delete": self._delete}
        return do[target.verb](request, target)

    def _get(self, target: Target) -> Answer:
        thing = self.cluster.storage.get(target.key)
        return Answer.json(scale_of(thing) if target.subresource == "scale" else thing)

    def _create(self, request: Request, target: Target) -> Answer:
        if target.subresource or target.name:
            raise not_allowed()
        admitted = self.admission.new(request, target, self.admission.read(request))
        return self._store(request, target, admitted, is_new=True)

    def _update(self, request: Request, target: Target) -> Answer:
        body = self.admission.read(request)
        before = self.cluster.storage.get(target.key)
        return self._replace(request, target, body, before)

    def _patch(self, request: Request, target: Target) -> Answer:
        before = self.cluster.storage.get(target.key)
        shown = scale_of(before) if target.subresource == "scale" else before
        patched = self._patched(request, target, shown, self.admission.read(request))
        return self._replace(request, target, patched, before)

    def _patched(self, request: Request, target: Target, thing: Json, patch: Any) -> Json:
        """Return an object with the patch of a request done to it, in the way that its type says."""
        given = request.media_type
        if given == JSON_PATCH:
            return json_patched(thing, patch)
        if not isinstance(patch, dict):
            raise bad_request("the patch is no JSON object")
        if given == MERGE_PATCH or (given == STRATEGIC_PATCH and target.subresource == "scale"):
            merged: Json = merge_patched(thing, patch)
            return merged
        if given == STRATEGIC_PATCH and not is_custom(target):
            return strategic_patched(thing, patch, self.schemas.of(target.kind))
        raise unsupported_media(given, (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH))

    def _replace(self, request: Request, target: Target, body: Any, before: Json) -> Answer:
        """Store an object in place of another one."""
        if target.subresource == "scale":
            after = scaled(before, body)
            stored = self._write(request, target, after, before)
            return Answer.json(scale_of(stored))
        admitted = self.admission.changed(request, target, body, before)
        return self._store(request, target, admitted, is_new=False, before=before)

    def _store(
        self, request: Request, target: Target, admitted: Admitted, *, is_new: bool, before: Json | None = None
    ) -> Answer:
        thing = admitted.thing
        if is_new:
            key = self.cluster.key(target.kind, thing)
            if self.dry(request):
                stored = thing
                if self.cluster.storage.find(key) is not None:
                    self.cluster.storage.create(key, thing)
            else:
                stored = self.cluster.storage.create(key, thing)
                self.cluster.settled()
        else:
            stored = self._write(request, target, thing, before or {})
        return Answer.json(stored, 201 if is_new else 200, admitted.warnings)

    def _write(self, request: Request, target: Target, thing: Json, before: Json) -> Json:
        """Store a change unless it is a dry run, and return what is then there."""
        given = thing["metadata"].get("resourceVersion")
        if given not in {None, "", before["metadata"]["resourceVersion"]}:
            raise conflict(target.kind.plural, target.kind.group, target.name)
        if self.dry(request):
            return thing
        stored = self.cluster.update(target.kind, thing)
        self.cluster.settled()
        return stored

    def _delete(self, request: Request, target: Target) -> Answer:
        options = self._options(request)
        thing = self.cluster.storage.get(target.key)
        wanted = options.get("preconditions") or {}
        for name in ("uid", "resourceVersion"):
            if wanted.get(name) not in {None, thing["metadata"][name]}:
                why = (
                    f"Precondition failed: {name} in precondition: {wanted[name]}, in object: {thing['metadata'][name]}"
                )
                raise conflict(target.kind.plural, target.kind.group, target.name, why)
        return Answer.json(self._deleted(request, target, thing, options))

    def _delete_many(self, request: Request, target: Target) -> Answer:
        options = self._options(request)
        for thing in Reader(self.cluster).items(request, target):
            self._deleted(request, target, thing, options)
        return Answer.json(Reader(self.cluster).list(request, target))

    def _deleted(self, request: Request, target: Target, thing: Json, options: Json) -> Json:
        """Delete an object and return what the server says of it."""
        if self.dry(request) or options.get("dryRun"):
            return thing
        if options.get("propagationPolicy") == "Orphan" or options.get("orphanDependents"):
            self._orphan(thing)
        self.cluster.delete(target.kind, thing, options.get("gracePeriodSeconds"))
        self.cluster.settled()
        if (left := self.cluster.storage.find(self.cluster.key(target.kind, thing))) is not None:
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

    def _options(self, request: Request) -> Json:
        """Return how to delete: from the query and from the body."""
        names = ("propagationPolicy", "gracePeriodSeconds", "dryRun")
        options: Json = {name: request.query[name] for name in names if name in request.query}
        body = self.admission.read(request) if request.body.strip() else {}
        options |= clone(body)
        if options.get("gracePeriodSeconds") is not None:
            options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
        return options

    def dry(self, request: Request) -> bool:
        """Tell whether nothing may be written. Raises a 400 for a way of running dry that there is not."""
        given = request.query.get("dryRun")
        if given not in {None, "", "All"}:
            raise bad_request(f'Invalid value: "{given}": dryRun must be All')
        return given == "All"


def is_custom(target: Target) -> bool:
    """Tell whether the kind is a custom resource, for which there is no strategic merge patch."""
    return target.kind.group in {"gateway.networking.k8s.io"} or not (
        "." not in target.kind.group or target.kind.group.endswith(".k8s.io")
    )
