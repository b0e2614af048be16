"""The way of a request: who asks, what goes wrong, whether it is allowed, and who answers it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes import openapi
from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.api import Api
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.discovery import discovered
from quadra_matrix.testing.kubernetes.faults import Faults
from quadra_matrix.testing.kubernetes.kinds import ACCESS_REVIEW, Catalogue
from quadra_matrix.testing.kubernetes.problems import Refused, no_such_path
from quadra_matrix.testing.kubernetes.proxy import Proxy
from quadra_matrix.testing.kubernetes.rbac import Deed, check
from quadra_matrix.testing.kubernetes.requests import Request, Target, target_of
from quadra_matrix.testing.kubernetes.schemas import Schemas
from quadra_matrix.testing.kubernetes.swagger import TYPE as SWAGGER
from quadra_matrix.testing.kubernetes.swagger import swagger
from quadra_matrix.testing.kubernetes.users import User, user_of

log = logging.getLogger(__name__)

HEALTH = ("healthz", "livez", "readyz")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request for objects that was answered."""

    verb: str
    resource: str
    """With its subresource: ``deployments/scale``."""
    namespace: str
    name: str
    code: int
    """Status of the answer; 0 when the connection was cut."""
    user: str
    is_dry: bool
    """Whether the client asked to write nothing."""

    @property
    def wrote(self) -> bool:
        """Tell whether it may have changed the cluster."""
        changes = self.verb in {"create", "update", "patch", "delete", "deletecollection"}
        return changes and not self.is_dry and self.code < 400


class Front:
    """Answers requests. May be shared between threads."""

    def __init__(
        self, cluster: Cluster, catalogue: Catalogue, schemas: Schemas, version: str, closing: threading.Event
    ) -> None:
        self.catalogue, self.faults = catalogue, Faults()
        self.requests: list[Seen] = []
        self._cluster, self._schemas, self._version, self._closing = cluster, schemas, version, closing
        self._api = Api(cluster, schemas, closing.is_set)
        self._proxy = Proxy(cluster)

    def respond(self, request: Request) -> Answer | Stream | None:
        """Return the answer to a request; None to cut the connection."""
        try:
            answer = self._document(request)
            return answer if answer is not None else self._about_objects(request)
        except Refused as refused:
            return _refusal(refused)
        except Exception as failed:  # the edge of a request: a mistake of the fake is an answer that says so
            log.exception("%s %s could not be answered", request.method, request.path)
            return _refusal(Refused(500, "InternalError", f"the fake cannot answer this: {failed!r}"))

    def _about_objects(self, request: Request) -> Answer | Stream | None:
        """Answer a request for objects, and remember it."""
        if request.path.strip("/").split("/")[0] not in {"api", "apis"}:
            raise no_such_path()
        target, user, is_dry = target_of(request, self.catalogue), user_of(request), request.is_dry
        fault = self.faults.meet(target)
        if fault.delay:
            self._closing.wait(fault.delay)
        answer: Answer | Stream | None = None
        if fault.cut != "before":
            try:
                if (refusal := fault.refusal()) is not None:
                    raise refusal
                answer = self._done(request, target, user)
            except Refused as refused:
                answer = _refusal(refused)
        code = 0 if answer is None else 200 if isinstance(answer, Stream) else answer.status
        self.requests.append(Seen(target.verb, target.resource, target.namespace, target.name, code, user.name, is_dry))
        return None if fault.cut else answer

    def _done(self, request: Request, target: Target, user: User) -> Answer | Stream:
        """Do what is asked."""
        with self._cluster.lock:
            self._cluster.catch_up()
            if target.kind is not ACCESS_REVIEW:
                check(self._cluster.storage, user, Deed.of(request, target))
            if target.subresource != "proxy":
                return self._api.answer(request, target)
        return self._proxy.answer(request, target)

    def _document(self, request: Request) -> Answer | None:
        """Return what a server tells everybody of itself; None for another address."""
        path = request.path
        if path.strip("/") in HEALTH:
            return Answer(200, b"ok", "text/plain")
        if path == "/openapi/v2":
            return Answer(200, swagger(self.catalogue, self._schemas), SWAGGER)
        if path.startswith("/openapi/v3"):
            document = openapi.document(path, self.catalogue, self._schemas)
        else:
            document = discovered(path, self.catalogue, self._version)
        return None if document is None else Answer.json(document)


def _refusal(refused: Refused) -> Answer:
    """Return the answer of a refusal; one that may be tried again says when."""
    answer = Answer.json(refused.status(), refused.code)
    seconds = refused.details.get("retryAfterSeconds")
    return answer if seconds is None else Answer(answer.status, answer.body, headers={"Retry-After": str(seconds)})
