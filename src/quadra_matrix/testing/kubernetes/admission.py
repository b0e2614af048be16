"""What a body goes through before it is stored: it is read, pruned, given its defaults and held against the rules."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.defaults import fill, select_own_pods
from quadra_matrix.testing.kubernetes.kinds import JOB, NAMESPACE, Kind
from quadra_matrix.testing.kubernetes.objects import Json, clone, dig, is_terminating, name_of
from quadra_matrix.testing.kubernetes.problems import Refused, bad_request, invalid, not_found
from quadra_matrix.testing.kubernetes.quota import check_quota
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.rules import broken_rules
from quadra_matrix.testing.kubernetes.schemas import Schemas
from quadra_matrix.testing.kubernetes.storage import Key
from quadra_matrix.testing.kubernetes.validation import examine

KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
"""Metadata that is the server's: what a client says about it is passed over."""

FIRST_STATUS: dict[str, Json] = {
    "HorizontalPodAutoscaler": {"currentReplicas": 0, "desiredReplicas": 0},
    "Namespace": {"phase": "Active"},
    "Pod": {"phase": "Pending"},
    "PodDisruptionBudget": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
}
"""Kind -> the status of a new object; empty where nothing is said."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An object that may be stored."""

    thing: Json
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """Reads and checks what clients send."""

    cluster: Cluster
    schemas: Schemas

    def new(self, request: Request, target: Target, body: Json) -> Admitted:
        """Return a new object, ready to be stored. Raises what a server says to one that it does not take."""
        admitted = self._decoded(request, target, body)
        thing = admitted.thing
        if thing["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._check_namespace(target)
        for name in (*KEPT, "managedFields"):
            thing["metadata"].pop(name, None)
        if target.kind.has("status"):
            thing.pop("status", None)
            if not target.kind.is_custom:
                thing["status"] = dict(FIRST_STATUS.get(target.kind.name, {}))
        if not thing["metadata"].get("name") and not thing["metadata"].get("generateName"):
            raise invalid(target.kind.name, target.kind.group, "", [])
        fill(thing, target.kind)
        self.cluster.give_address(target.kind, thing)
        born = self.cluster.born(thing)
        if target.kind is JOB:
            select_own_pods(born)
        self._check(born, target.kind, None)
        check_quota(self.cluster.storage, target.kind, target.namespace)
        return Admitted(born, admitted.warnings)

    def changed(self, request: Request, target: Target, body: Json, before: Json) -> Admitted:
        """Return an object that takes the place of ``before``."""
        admitted = self._decoded(request, target, body)
        thing = admitted.thing
        given = thing["metadata"].get("uid")
        if given not in {None, before["metadata"]["uid"]}:
            raise invalid(target.kind.name, target.kind.group, name_of(before), [])
        thing["metadata"] |= {name: before["metadata"][name] for name in KEPT if name in before["metadata"]}
        if target.subresource == "status":
            thing = {**before, "status": thing.get("status", {}), "metadata": self._metadata_of_status(thing, before)}
        elif target.kind.has("status"):
            thing.pop("status", None)
            thing |= {"status": before["status"]} if "status" in before else {}
        fill(thing, target.kind)
        self.cluster.give_address(target.kind, thing, before)
        self._check(thing, target.kind, before)
        return Admitted(thing, admitted.warnings)

    def _metadata_of_status(self, thing: Json, before: Json) -> Json:
        """Return the metadata of a change of status: it may carry a version to compare, and no change of its own."""
        metadata: Json = clone(before["metadata"])
        if thing["metadata"].get("resourceVersion"):
            metadata["resourceVersion"] = thing["metadata"]["resourceVersion"]
        return metadata

    def _decoded(self, request: Request, target: Target, body: Json) -> Admitted:
        """Return the object of a body without what its schema does not know."""
        kind = target.kind
        given = (body.get("apiVersion", kind.api_version), body.get("kind", kind.name))
        if given != (kind.api_version, kind.name):
            message = f"{given[1]} in version {given[0]!r} cannot be handled as a {kind.name}"
            raise bad_request(f"{message}: no kind {kind.name!r} is registered for it here")
        thing, findings = examine(body, self.schemas.of(kind))
        if findings.unreadable:
            message = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
            raise bad_request(f"{message}: json: {'; '.join(findings.unreadable)}")
        unknown = [f'unknown field "{path}"' for path in findings.unknown]
        mode = request.query.get("fieldValidation", "Warn")
        if unknown and mode == "Strict":
            raise bad_request(f"strict decoding error: {', '.join(unknown)}")
        name = dig(thing, "metadata", "name", default="")
        if findings.broken:
            raise invalid(kind.name, kind.group, name, findings.broken)
        thing = {"apiVersion": kind.api_version, "kind": kind.name, **thing}
        thing["metadata"] = self._placed(target, dict(thing.get("metadata") or {}))
        return Admitted(thing, tuple(unknown) if mode == "Warn" else ())

    def _placed(self, target: Target, metadata: Json) -> Json:
        """Return the metadata of an object that stands where its address says."""
        given = metadata.get("namespace") or target.namespace
        if given != target.namespace:
            message = f"the namespace of the provided object does not match the namespace sent on the request: {given}"
            raise bad_request(message)
        if target.name and metadata.setdefault("name", target.name) != target.name:
            message = "the name of the object does not match the name on the URL"
            raise bad_request(f"{message} ({metadata['name']}, {target.name})")
        if target.kind.namespaced:
            metadata["namespace"] = target.namespace
        return metadata

    def _check(self, thing: Json, kind: Kind, before: Json | None) -> None:
        broken = broken_rules(thing, kind, before)
        if broken:
            raise invalid(kind.name, kind.group, name_of(thing), broken)

    def _check_namespace(self, target: Target) -> None:
        if not target.kind.namespaced:
            return
        namespace = self.cluster.storage.find(Key(NAMESPACE, "", target.namespace))
        if namespace is None:
            raise not_found("namespaces", "", target.namespace)
        if is_terminating(namespace):
            message = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            raise Refused(403, "Forbidden", message)
