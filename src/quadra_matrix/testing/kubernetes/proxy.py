"""The API server's proxy: requests to pods and Services, answered by handlers or by real servers on this machine."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

from quadra_matrix.testing.kubernetes.answers import Answer
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.images import Asked, Handler, Said, behaviour
from quadra_matrix.testing.kubernetes.kinds import POD, SERVICE
from quadra_matrix.testing.kubernetes.objects import Json, dig, is_ready, labels_of, name_of
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.selectors import has_labels
from quadra_matrix.testing.kubernetes.storage import Key

PORTS = {"": 80, "http": 80, "https": 443}
NOT_PASSED_ON = frozenset({"host", "connection", "content-length", "transfer-encoding", "authorization"})
TIMEOUT = 10.0
"""Seconds a real server may take."""


def forward_to(address: str) -> Handler:
    """Return a handler that asks a real server, such as ``http://127.0.0.1:8080``."""

    def ask(asked: Asked) -> Said:
        url = f"{address}{asked.path}" + (f"?{asked.query}" if asked.query else "")
        headers = {name: value for name, value in asked.headers.items() if name not in NOT_PASSED_ON}
        request = urllib.request.Request(url, asked.body or None, headers, method=asked.method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  a test gave the address
                return Said(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
        except urllib.error.HTTPError as refused:
            return Said(refused.code, refused.read(), refused.headers.get("Content-Type", ""))

    return ask


@dataclass
class Proxy:
    """Passes requests on. Call it without the cluster's lock: a handler may take its time, or ask the cluster."""

    cluster: Cluster
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def answer(self, request: Request, target: Target) -> Answer:
        """Return the answer of the pod that a request is for. Raises a 404 without a pod, a 503 when none answers."""
        name, port = _split(target.name)
        with self.cluster.lock:
            pod = self._pod(target, name)
            image = behaviour(self.cluster.images, [each["image"] for each in pod["spec"]["containers"]])
            running = dig(pod, "status", "phase") == "Running"
        number = _number(port, pod)
        if image.answer is None or not running:
            raise _unreachable(
                f"dial tcp {dig(pod, 'status', 'podIP', default='')}:{number}: connect: connection refused"
            )
        asked = Asked(
            request.method, f"/{target.rest}", request.query_text, request.headers, request.body, name_of(pod), number
        )
        try:
            said = image.answer(asked)
        except OSError as failed:
            raise _unreachable(str(failed)) from failed
        return Answer(said.status, said.body, said.type)

    def _pod(self, target: Target, name: str) -> Json:
        """Return the pod, or one of those behind the Service, in turn."""
        found = self.cluster.storage.get(Key(target.kind, target.namespace, name))
        if target.kind is not SERVICE:
            return found
        selector = dig(found, "spec", "selector")
        pods = self.cluster.storage.list(POD, target.namespace)
        ready = [pod for pod in pods if has_labels(selector, labels_of(pod)) and is_ready(pod)]
        if not ready:
            raise Refused(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
        return ready[next(self._turns) % len(ready)]


def _split(given: str) -> tuple[str, str]:
    """Return name and port of ``name``, ``name:port`` or ``scheme:name:port``."""
    parts = given.split(":")
    if len(parts) == 3:
        return parts[1], parts[2]
    return parts[0], parts[1] if len(parts) == 2 else ""


def _number(port: str, pod: Json) -> int:
    """Return a port as a number; a name is one that a container gives, no name is its first port."""
    ports = [each for container in pod["spec"]["containers"] for each in container.get("ports", [])]
    if port.isdecimal():
        return int(port)
    named = {each.get("name", ""): each["containerPort"] for each in ports}
    first: int = ports[0]["containerPort"] if ports else 80
    return int(named.get(port, PORTS.get(port, first) if port else first))


def _unreachable(why: str) -> Refused:
    return Refused(503, "ServiceUnavailable", f"error trying to reach service: {why}")
