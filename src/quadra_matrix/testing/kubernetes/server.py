"""The fake API server that tests start: a real port, a kubeconfig, and a hand on everything behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.testing.kubernetes.answers import Answer
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.controllers import ordinary_controllers
from quadra_matrix.testing.kubernetes.faults import Faults
from quadra_matrix.testing.kubernetes.front import Front, Seen
from quadra_matrix.testing.kubernetes.handler import Listener
from quadra_matrix.testing.kubernetes.history import History
from quadra_matrix.testing.kubernetes.images import Image
from quadra_matrix.testing.kubernetes.kinds import Catalogue
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.problems import no_such_path
from quadra_matrix.testing.kubernetes.processes import Processes
from quadra_matrix.testing.kubernetes.requests import Request
from quadra_matrix.testing.kubernetes.schemas import schemas

VERSION = "1.32"
NAMESPACES = ("default", "kube-system")


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
        processes: Processes | None = None,
    ) -> None:
        """Prepare a cluster.

        ``images`` says how images behave, by name (``shop:2`` or ``shop``); ``capacity`` is the number of pods that
        there is room for; ``without`` names groups that are not installed, such as ``gateway.networking.k8s.io``;
        ``processes`` starts the commands of Jobs whose image is a process.
        """
        self._cluster = Cluster(clock, images or {}, capacity, processes)
        self._cluster.controllers.extend(ordinary_controllers())
        self._closing = threading.Event()
        self._front = Front(self._cluster, Catalogue().without(without), schemas(version), version, self._closing)
        self._listener = Listener(self._front.respond)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        for name in NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._front.requests.clear()

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
        if self._cluster.processes is not None:
            self._cluster.processes.close()

    @property
    def address(self) -> str:
        """Return where the server listens."""
        return self._listener.address

    @property
    def images(self) -> MutableMapping[str, Image]:
        """Return how images behave; a change takes effect at the next look."""
        return self._cluster.images

    @property
    def faults(self) -> Faults:
        """Return what is to go wrong."""
        return self._front.faults

    @property
    def requests(self) -> Sequence[Seen]:
        """Return what was asked of objects since the start, oldest first."""
        return tuple(self._front.requests)

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

    def set_load(self, autoscaler: str, pods: float, namespace: str = "default") -> None:
        """Say how many pods the load of an autoscaler's target needs; it acts on it at its next look."""
        with self._cluster.lock:
            self._cluster.loads[namespace, autoscaler] = pods

    def cut(self) -> None:
        """Cut every open connection, watches too."""
        self._listener.cut()

    def forget(self) -> None:
        """Forget the past: who watches from an older version is refused with a 410."""
        with self._cluster.lock:
            self._cluster.storage.forget()

    def kubeconfig(self, path: Path, *, namespace: str = "default", user: str | None = None) -> Path:
        """Write a kubeconfig whose context ``fake`` leads here, and return its path.

        ``user`` is who asks, such as ``system:serviceaccount:shop:deployer``; an administrator by default.
        """
        # kubectl sends a token over TLS only, and a borrowed name always.
        who = {} if user is None else {"token": user, "as": user}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.address}}],
            "users": [{"name": "fake", "user": who}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": namespace}}],
        }
        path.write_text(json.dumps(config))
        return path

    def create(self, *things: Json) -> None:
        """Create objects as an administrator does, with every check; for the set-up of a test."""
        for thing in things:
            kind = self._front.catalogue.named(thing["apiVersion"], thing["kind"])
            if kind is None:
                raise no_such_path()
            namespace = thing["metadata"].get("namespace", "default")
            middle = f"/namespaces/{namespace}" if kind.namespaced else ""
            root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
            body = json.dumps(thing).encode()
            answer = self._front.respond(Request("POST", f"{root}{middle}/{kind.plural}", {}, {}, body))
            if not isinstance(answer, Answer) or answer.status >= 400:
                raise ValueError(f"the fake refuses {thing['kind']}: {getattr(answer, 'body', answer)!r}")
