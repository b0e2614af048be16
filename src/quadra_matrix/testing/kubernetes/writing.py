"""Creation, replacement, patches and server-side apply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from quadra_matrix.testing.kubernetes.admission import Admission, Admitted
from quadra_matrix.testing.kubernetes.answers import Answer
from quadra_matrix.testing.kubernetes.bodies import any_body, json_body
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.objects import Json, dig
from quadra_matrix.testing.kubernetes.ownership import Manager, applied, managers_of, tracked, with_managers
from quadra_matrix.testing.kubernetes.patches import json_patched, merge_patched
from quadra_matrix.testing.kubernetes.problems import bad_request, conflict, unsupported_media
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.scale import scale_of, scaled
from quadra_matrix.testing.kubernetes.schemas import Schemas
from quadra_matrix.testing.kubernetes.strategic import strategic_patched

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes objects."""

    cluster: Cluster
    schemas: Schemas
    admission: Admission

    def create(self, request: Request, target: Target) -> Answer:
        """Store a new object."""
        admitted = self.admission.new(request, target, json_body(request))
        thing = tracked(None, admitted.thing, self._writer(request, target, "Update"), self.schemas.of(target.kind))
        return self._created(request, target, Admitted(thing, admitted.warnings))

    def update(self, request: Request, target: Target) -> Answer:
        """Store an object in place of another one."""
        return self._replace(request, target, json_body(request), self.cluster.storage.get(target.key))

    def patch(self, request: Request, target: Target) -> Answer:
        """Store what an object is after a patch."""
        if request.media_type not in PATCHES:
            raise unsupported_media(request.media_type, PATCHES)
        patch = any_body(request)
        if request.media_type == APPLY_PATCH:
            return self._apply(request, target, patch)
        before = self.cluster.storage.get(target.key)
        shown = scale_of(before) if target.subresource == "scale" else before
        return self._replace(request, target, self._patched(request, target, shown, patch), before)

    def _patched(self, request: Request, target: Target, thing: Json, patch: Any) -> Json:
        """Return an object with a patch done to it, in the way that its type says."""
        if request.media_type == JSON_PATCH:
            return json_patched(thing, patch)
        if not isinstance(patch, dict):
            raise bad_request("the patch is no JSON object")
        if request.media_type == STRATEGIC_PATCH and target.kind.is_custom:
            raise unsupported_media(STRATEGIC_PATCH, (JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
        if request.media_type == MERGE_PATCH or target.subresource == "scale":
            merged: Json = merge_patched(thing, patch)
            return merged
        return strategic_patched(thing, patch, self.schemas.of(target.kind))

    def _apply(self, request: Request, target: Target, wanted: Any) -> Answer:
        """Store what an object is once its writer's wishes are in it; a new one where there is none."""
        if not request.query.get("fieldManager"):
            raise bad_request(
                "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply"
            )
        if not isinstance(wanted, dict):
            raise bad_request("the object to apply is no object")
        if dig(wanted, "metadata", "managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        schema, writer = self.schemas.of(target.kind), self._writer(request, target, "Apply")
        before = self.cluster.storage.find(target.key)
        if before is None:
            admitted = self.admission.new(request, target, wanted)
            born = applied({"metadata": {}}, wanted, writer, schema, force=True)
            return self._created(request, target, Admitted(with_managers(admitted.thing, managers_of(born))))
        given = dig(wanted, "metadata", "resourceVersion")
        if given not in {None, before["metadata"]["resourceVersion"]}:
            raise conflict(target.kind.plural, target.kind.group, target.name)
        merged = applied(before, wanted, writer, schema, force=request.asks("force"))
        admitted = self.admission.changed(request, target, merged, before)
        return self._stored(request, target, admitted)

    def _replace(self, request: Request, target: Target, body: Json, before: Json) -> Answer:
        """Store an object in place of another one, and note what its writer changed."""
        if target.subresource == "scale":
            admitted = Admitted(scaled(before, body))
        else:
            admitted = self.admission.changed(request, target, body, before)
        given = admitted.thing["metadata"].get("resourceVersion")
        if given not in {None, "", before["metadata"]["resourceVersion"]}:
            raise conflict(target.kind.plural, target.kind.group, target.name)
        writer = self._writer(request, target, "Update")
        thing = tracked(before, admitted.thing, writer, self.schemas.of(target.kind))
        return self._stored(request, target, replace(admitted, thing=thing))

    def _created(self, request: Request, target: Target, admitted: Admitted) -> Answer:
        key, thing = self.cluster.key(target.kind, admitted.thing), admitted.thing
        if self.cluster.storage.find(key) is None and request.is_dry:
            return Answer.json(thing, 201, admitted.warnings)
        stored = self.cluster.storage.create(key, thing)
        self.cluster.settled()
        return Answer.json(stored, 201, admitted.warnings)

    def _stored(self, request: Request, target: Target, admitted: Admitted) -> Answer:
        thing = admitted.thing
        if not request.is_dry:
            thing = self.cluster.update(target.kind, thing)
            self.cluster.settled()
        shown = scale_of(thing) if target.subresource == "scale" else thing
        return Answer.json(shown, warnings=admitted.warnings)

    def _writer(self, request: Request, target: Target, operation: str) -> Manager:
        """Return who writes: as the client says, else the name of its program."""
        program = request.headers.get("user-agent", "unknown").split("/")[0]
        return Manager(
            name=request.query.get("fieldManager") or program,
            operation=operation,
            api_version=target.kind.api_version,
            fields=frozenset(),
            subresource=target.subresource,
            time=self.cluster.text_now(),
        )
