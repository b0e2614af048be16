"""A cluster under a fake clock, and a client that knows nothing but HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.testing.kubernetes.manifests import Json

APPS = "/apis/apps/v1/namespaces/default"
CORE = "/api/v1/namespaces/default"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@dataclass
class Reply:
    """What the server answered."""

    code: int
    body: Any
    headers: http.client.HTTPMessage


@dataclass
class Client:
    """Speaks HTTP to the fake. Tests say what they send, so that no library's kindness hides a mistake."""

    address: str
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: object = None, type_: str = "application/json") -> Reply:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=10)
        try:
            content = body if body is None or isinstance(body, str) else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": type_, **self.headers})
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return Reply(answer.status, json.loads(text) if is_json and text else text.decode(), answer.headers)
        finally:
            connection.close()

    def get(self, path: str) -> Json:
        reply = self.call("GET", path)
        assert reply.code == 200, reply.body
        found: Json = reply.body
        return found

    def patch(self, path: str, body: object, type_: str = MERGE_PATCH) -> Reply:
        return self.call("PATCH", path, body, type_)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cluster(clock: FakeClock) -> Iterator[FakeKubernetes]:
    with FakeKubernetes(clock=clock) as running:
        yield running


@pytest.fixture
def client(cluster: FakeKubernetes) -> Client:
    return Client(cluster.address)
