"""What the containers of pods wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.images import behaviour
from quadra_matrix.testing.kubernetes.objects import Json, dig
from quadra_matrix.testing.kubernetes.problems import bad_request
from quadra_matrix.testing.kubernetes.reading import LOOK
from quadra_matrix.testing.kubernetes.requests import Request, Target

TEXT = "text/plain"
OVER = frozenset({"Succeeded", "Failed"})


def log_answer(cluster: Cluster, request: Request, target: Target, over: Callable[[], bool]) -> Answer | Stream:
    """Return a pod's log: all, its last lines or its first bytes, and with ``follow`` what still comes."""
    pod = cluster.storage.get(target.key)
    names = [container["name"] for container in pod["spec"]["containers"]]
    container = request.query.get("container") or names[0]
    if container not in names:
        raise bad_request(f"container {container} is not valid for pod {target.name}")
    if not dig(pod, "spec", "nodeName") or dig(pod, "status", "phase") == "Pending":
        message = f'container "{container}" in pod "{target.name}" is waiting to start: ContainerCreating'
        raise bad_request(message)
    if request.asks("follow"):
        return Stream(_followed(cluster, target, over), TEXT)
    text = _text(cluster, pod)
    lines = request.query.get("tailLines")
    if lines is not None:
        text = b"".join(text.splitlines(keepends=True)[-int(lines) :]) if int(lines) else b""
    limit = request.query.get("limitBytes")
    return Answer(200, text[: int(limit)] if limit else text, TEXT)


def _text(cluster: Cluster, pod: Json) -> bytes:
    """Return what a pod wrote so far."""
    started = cluster.processes.output(pod["metadata"]["uid"]) if cluster.processes is not None else None
    if started is not None:
        return started
    used = [container["image"] for container in pod["spec"]["containers"]]
    return behaviour(cluster.images, used).output.encode()


def _followed(cluster: Cluster, target: Target, over: Callable[[], bool]) -> Iterator[bytes]:
    sent = 0
    while not over():
        with cluster.lock:
            cluster.catch_up()
            pod = cluster.storage.find(target.key)
            ended = pod is None or dig(pod, "status", "phase") in OVER
            text = b"" if pod is None else _text(cluster, pod)
            if len(text) <= sent and not ended:
                cluster.changed.wait(LOOK)
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
        elif ended:
            return
