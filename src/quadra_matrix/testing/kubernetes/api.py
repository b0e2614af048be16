"""The verbs of the API: each request finds its way to what reads, writes or deletes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.admission import Admission
from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.deleting import Deleter
from quadra_matrix.testing.kubernetes.kinds import ACCESS_REVIEW
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.podlogs import log_answer
from quadra_matrix.testing.kubernetes.reading import Reader
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.scale import scale_of
from quadra_matrix.testing.kubernetes.schemas import Schemas
from quadra_matrix.testing.kubernetes.subresources import Subresources
from quadra_matrix.testing.kubernetes.tables import Tables
from quadra_matrix.testing.kubernetes.writing import Writer


@dataclass(frozen=True, slots=True)
class Api:
    """Does what requests ask for. Hold the cluster's lock around every call."""

    cluster: Cluster
    schemas: Schemas
    over: Callable[[], bool]
    """Tells whether the server is being stopped: watches end then."""

    def answer(self, request: Request, target: Target) -> Answer | Stream:
        """Do what is asked and return the answer. Raises ``Refused``."""
        verb = target.verb
        if target.subresource == "log":
            return log_answer(self.cluster, request, target, self.over)
        if target.subresource == "eviction":
            return Subresources(self.cluster).evict(request, target)
        if target.kind is ACCESS_REVIEW:
            return Subresources(self.cluster).review(request)
        if verb in {"get", "list", "watch"}:
            return self._read(request, target)
        if verb in {"delete", "deletecollection"}:
            deleter = Deleter(self.cluster)
            return deleter.one(request, target) if verb == "delete" else deleter.many(request, target)
        writer = Writer(self.cluster, self.schemas, Admission(self.cluster, self.schemas))
        return {"create": writer.create, "update": writer.update, "patch": writer.patch}[verb](request, target)

    def _read(self, request: Request, target: Target) -> Answer | Stream:
        """Return an object, a list or a watch, as tables where the client wants them."""
        tables = Tables.asked_for(request, target.kind, self.cluster.wall())
        if target.subresource == "scale":
            return Answer.json(scale_of(self.cluster.storage.get(target.key)))
        if target.verb == "watch":
            encoder = tables.table if tables else _unchanged
            return Stream(Reader(self.cluster).watch(request, target, self.over, encoder))
        if target.verb == "get":
            found = self.cluster.storage.get(target.key)
        else:
            found = Reader(self.cluster).list(request, target)
        return Answer.json(tables.table(found) if tables else found)


def _unchanged(thing: Json) -> Json:
    return thing
