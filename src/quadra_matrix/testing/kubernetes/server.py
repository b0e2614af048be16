"""The fake API server that tests start: a real port, a kubeconfig, and a hand on everything behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from types import TracebackType

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.testing.kubernetes import openapi
from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.api import Api
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.controllers import ordinary_controllers
from quadra_matrix.testing.kubernetes.discovery import discovered
from quadra_matrix.testing.kubernetes.handler import Listener
from quadra_matrix.testing.kubernetes.history import History
from quadra_matrix.testing.kubernetes.images import Image
from quadra_matrix.testing.kubernetes.kinds import Catalogue
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.problems import Refused, no_such_path
from quadra_matrix.testing.kubernetes.requests import Request, target_of
from quadra_matrix.testing.kubernetes.schemas import schemas
from quadra_matrix.testing.kubernetes.swagger import TYPE as SWAGGER
from quadra_matrix.testing.kubernetes.swagger import swagger

VERSION = "1.32"
NAMESPACES = ("default", "kube-system")
HEALTH = ("healthz", "livez", "readyz")


class FakeKubernetes:
    """A Kubernetes API server on a free port of this machine, with the controllers behind it.

    Use it as a context manager. Time is the clock's: with a ``FakeClock`` a rollout of minutes takes milliseconds, and
    the same test always sees the same cluster. May be shared between threads.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        images: Mapping[str, Image] | None = None,
        capacity: int | None = None,
        version: str = VERSION,
        without: Iterable[str] = (),
    ) -> None:
        """Prepare a cluster.

        ``images`` says how images behave, by name (``shop:2`` or ``shop``); ``capacity`` is the number of pods that
        there is room for; ``without`` names groups that are not installed, such as ``gateway.networking.k8s.io``.
        """
        self._cluster = Cluster(clock, images or {}, capacity)
        self._cluster.controllers.extend(ordinary_controllers())
        self._catalogue = Catalogue().without(without)
        self._version = version
        self._closing = threading.Event()
        self._schemas = schemas(version)
        self._api = Api(self._cluster, self._schemas, self._closing.is_set)
        self._listener = Listener(self._respond)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        for name in NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def __enter__(self) -> FakeKubernetes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.shutdown()
        self._listener.cut()
        self._listener.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Return where the server listens."""
        return self._listener.address

    @property
    def images(self) -> MutableMapping[str, Image]:
        """Return how images behave; a change takes effect at the next look."""
        return self._cluster.images

    @property
    def history(self) -> History:
        """Return what stood ready when, up to now."""
        self._cluster.catch_up()
        return self._cluster.history

    @property
    def now(self) -> float:
        """Return the cluster's monotonic time in seconds, which ``history`` counts in."""
        self._cluster.catch_up()
        return self._cluster.now

    def set_capacity(self, pods: int | None) -> None:
        """Say how many pods there is room for; those that run stay."""
        with self._cluster.lock:
            self._cluster.capacity = pods
            self._cluster.settled(forced=True)

    def kubeconfig(self, path: Path, *, namespace: str = "default") -> Path:
        """Write a kubeconfig whose context ``fake`` leads here, and return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.address}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": namespace}}],
        }
        path.write_text(json.dumps(config))
        return path

    def create(self, *things: Json) -> None:
        """Create objects as an administrator does, with every check; for the set-up of a test."""
        for thing in things:
            kind = self._catalogue.named(thing["apiVersion"], thing["kind"])
            if kind is None:
                raise no_such_path()
            namespace = thing["metadata"].get("namespace", "default")
            middle = f"/namespaces/{namespace}" if kind.namespaced else ""
            root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
            body = json.dumps(thing).encode()
            answer = self._respond(Request("POST", f"{root}{middle}/{kind.plural}", {}, {}, body))
            if not isinstance(answer, Answer) or answer.status >= 400:
                raise ValueError(f"the fake refuses {thing['kind']}: {getattr(answer, 'body', answer)!r}")

    def _respond(self, request: Request) -> Answer | Stream | None:
        """Answer a request."""
        try:
            return self._answer(request)
        except Refused as refused:
            return Answer.json(refused.status(), refused.code)

    def _answer(self, request: Request) -> Answer | Stream:
        first = request.path.strip("/").split("/")[0]
        if first in HEALTH:
            return Answer(200, b"ok", "text/plain")
        if request.path == "/openapi/v2":
            return Answer(200, swagger(self._catalogue, self._schemas), SWAGGER)
        if request.path.startswith("/openapi/v3"):
            document = openapi.document(request.path, self._catalogue, self._schemas)
        else:
            document = discovered(request.path, self._catalogue, self._version)
        if document is not None:
            return Answer.json(document)
        if first not in {"api", "apis"} or request.path.strip("/").count("/") < 2:
            raise no_such_path()
        target = target_of(request, self._catalogue)
        with self._cluster.lock:
            self._cluster.catch_up()
            return self._api.answer(request, target)
