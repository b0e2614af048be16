"""The API server: objects as JSON, and requests to pods through its proxy. lightkube finds and authenticates it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from quadra_matrix.delivery.kubernetes.patches import Json, holds
from quadra_matrix.errors import (
    ClusterForbidden,
    ClusterUnreachable,
    MissingExtra,
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
)

try:
    import httpx2
    from lightkube.config import client_adapter
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError
except ImportError as missing:
    raise MissingExtra("lightkube", "kubernetes") from missing

WITHIN = 10.0
"""Seconds an answer of the API server may take."""
LARGEST_PAGE = 500
"""Objects of one answer to a list."""


class Resource(Enum):
    """The kinds that the driver reads or writes: the API they are in, and their plural."""

    DEPLOYMENT = ("apis/apps/v1", "deployments")
    POD = ("api/v1", "pods")
    SERVICE = ("api/v1", "services")
    CONFIG_MAP = ("api/v1", "configmaps")
    LEASE = ("apis/coordination.k8s.io/v1", "leases")
    AUTOSCALER = ("apis/autoscaling/v2", "horizontalpodautoscalers")
    BUDGET = ("apis/policy/v1", "poddisruptionbudgets")
    ROUTE = ("apis/gateway.networking.k8s.io/v1", "httproutes")
    JOB = ("apis/batch/v1", "jobs")

    @property
    def api(self) -> str:
        """The path of the API."""
        return self.value[0]

    @property
    def plural(self) -> str:
        """The name in paths and in roles."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod answered."""

    status: int
    body: bytes


class Objects(Protocol):
    """The objects of one namespace."""

    def get(self, resource: Resource, name: str) -> Json:
        """Return an object. Raises ``ObjectMissing``."""

    def list(self, resource: Resource, labels: Mapping[str, str]) -> list[Json]:
        """Return the objects with these labels."""

    def patch(self, resource: Resource, name: str, operations: Sequence[Json]) -> Json:
        """Change an object. Raises ``ObjectChanged`` when a ``test`` fails, ``ObjectRefused`` when the rest does."""

    def put(self, resource: Resource, body: Json) -> Json:
        """Create an object, or replace the one of this resourceVersion. Raises ``ObjectChanged``."""


class Cluster:
    """The ``Objects`` of one namespace behind an API server. Close it after use. Not for several threads."""

    def __init__(self, client: httpx2.Client, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self.server = str(client.base_url)

    @classmethod
    def at(cls, context: str | None = None, namespace: str | None = None, *, kubeconfig: Path | None = None) -> Cluster:
        """Return the cluster of a kubeconfig; without one the pod's own, or that of KUBECONFIG or ~/.kube/config.

        Raises ``ClusterUnreachable`` when there is none.
        """
        try:
            config = (KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()).get(context)
            if config is None:
                raise ClusterUnreachable("no cluster", "the kubeconfig has no current context; give --context")
            client = client_adapter.Client(config, client_adapter.ConnectionParams(timeout=httpx2.Timeout(WITHIN)))
        except (ConfigError, OSError, KeyError, ValueError) as failed:
            raise ClusterUnreachable("no cluster", f"{failed}; KUBECONFIG names one") from failed
        return cls(client, namespace or config.namespace)

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def get(self, resource: Resource, name: str) -> Json:
        """Return an object."""
        return self._json("GET", resource, name)

    def list(self, resource: Resource, labels: Mapping[str, str]) -> list[Json]:
        """Return the objects with these labels, page by page."""
        found: list[Json] = []
        query = {"limit": str(LARGEST_PAGE), "labelSelector": ",".join(f"{key}={labels[key]}" for key in labels)}
        while True:
            page = self._json("GET", resource, query=query)
            found += page.get("items") or []
            following = page.get("metadata", {}).get("continue")
            if not following:
                return found
            query["continue"] = following

    def patch(self, resource: Resource, name: str, operations: Sequence[Json]) -> Json:
        """Change an object by a JSON patch."""
        try:
            return self._json("PATCH", resource, name, body=list(operations), content="application/json-patch+json")
        except ObjectRefused as refused:
            # The server answers 422 both for a test that fails and for a value that it does not want.
            if refused.status == 422 and not holds(self.get(resource, name), operations):
                raise ObjectChanged(f"{resource.plural}/{name}") from refused
            raise

    def put(self, resource: Resource, body: Json) -> Json:
        """Create or replace an object."""
        is_known = "resourceVersion" in body["metadata"]
        return self._json(
            "PUT" if is_known else "POST", resource, body["metadata"]["name"] if is_known else "", body=body
        )

    def delete(self, resource: Resource, name: str) -> None:
        """Remove an object and what belongs to it; one that is gone already is fine."""
        try:
            self._json("DELETE", resource, name, query={"propagationPolicy": "Background"})
        except ObjectMissing:
            return

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, within: float = WITHIN) -> Answer:
        """Return what a pod answers below its address, whatever the status. Raises ``ClusterUnreachable``."""
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = self._client.request(method, path, content=body, headers=kind, timeout=within)
        except httpx2.HTTPError as failed:
            raise ClusterUnreachable(self.server, f"{method} {path}: {failed}") from failed
        return Answer(answer.status_code, answer.content)

    def pod_address(self, pod: str, port: int) -> str:
        """Return the path below which a pod's port is proxied."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy"

    def _json(
        self,
        method: str,
        resource: Resource,
        name: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "application/json",
    ) -> Json:
        """Return the JSON answer of a request for an object or a list."""
        path = f"/{resource.api}/namespaces/{self.namespace}/{resource.plural}" + (f"/{name}" if name else "")
        headers = {} if body is None else {"Content-Type": content}
        try:
            answer = self._client.request(method, path, params=query, content=_encoded(body), headers=headers)
        except ConfigError as failed:  # the program that the kubeconfig names for a token
            raise ClusterUnreachable(self.server, str(failed)) from failed
        except httpx2.HTTPError as failed:
            raise ClusterUnreachable(self.server, f"{method} {path}: {failed}") from failed
        if answer.is_error:
            raise self._error(answer, method, resource, name)
        found: Json = answer.json()
        return found

    def _error(self, answer: httpx2.Response, method: str, resource: Resource, name: str) -> Exception:
        """Return the error that an answer means."""
        said, what = _message(answer), f"{resource.plural}/{name}" if name else resource.plural
        status = answer.status_code
        if status in {401, 403}:
            return ClusterForbidden(method, what, self.namespace, said)
        if status == 404:
            return ObjectMissing(what, self.namespace)
        if status == 409:
            return ObjectChanged(what)
        if status == 429 or status >= 500:
            return ClusterUnreachable(self.server, f"{method} {what} was answered {status}: {said}")
        return ObjectRefused(what, status, said)


def _encoded(body: object) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _message(answer: httpx2.Response) -> str:
    """Return the sentence in an answer that is no success."""
    try:
        status: Any = answer.json()
    except ValueError:
        return answer.text[:200]
    return str(status.get("message", "")) if isinstance(status, dict) else str(status)[:200]
