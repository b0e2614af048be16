"""A namespace of its own for each test: on the fake always, on a real cluster too where one is given.

``QUADRA_TEST_KUBECONFIG`` names the kubeconfig of the real one. ``QUADRA_TEST_IMAGE`` names the image made of
``tests/cluster/image``, without tag; ``.github/workflows/e2e.yml`` shows how.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from quadra_matrix.testing.kubernetes import MISSING, Asked, FakeKubernetes, Image, Processes, Said
from tests.cluster.image.shop import page
from tests.services.process import wait_until

# Read here: a fixture hides the developer's own options from the tests.
KUBECONFIG = os.environ.get("QUADRA_TEST_KUBECONFIG")
IMAGE = os.environ.get("QUADRA_TEST_IMAGE", "quadra-test")
WITHIN = 30.0
"""Seconds one request may take."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    code: int
    body: Any


@dataclass(frozen=True)
class Place:
    """A namespace of a cluster, as an administrator of it."""

    http: httpx2.Client
    kubeconfig: Path
    namespace: str

    def at(self, api_version: str, rest: str) -> str:
        """Return an address in the namespace."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        return f"{root}/namespaces/{self.namespace}/{rest}"

    def call(
        self, method: str, path: str, body: object = None, type_: str = "application/json", **headers: str
    ) -> Reply:
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=content, headers={"Content-Type": type_, **headers})
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return Reply(answer.status_code, answer.json() if is_json else answer.text)

    def create(self, thing: Json) -> Json:
        """Create an object and return it."""
        made = self.call("POST", self.at(thing["apiVersion"], f"{thing['kind'].lower()}s"), thing)
        assert made.code == 201, made.body
        found: Json = made.body
        return found

    def get(self, api_version: str, rest: str) -> Json:
        """Return an object or a list."""
        reply = self.call("GET", self.at(api_version, rest))
        assert reply.code == 200, reply.body
        found: Json = reply.body
        return found

    def pods(self) -> list[Json]:
        return list(self.get("v1", "pods")["items"])


def fake(folder: Path) -> FakeKubernetes:
    """Return a fake cluster on the real clock that knows the image of these tests."""
    began = time.monotonic()

    def shop(error_rate: float) -> Image:
        def answer(asked: Asked) -> Said:
            status, text = page(asked.path, time.monotonic() - began, error_rate)
            return Said(status, text.encode())

        return Image(ready_after=0.3, answer=answer, process=True)

    here = f"{Path(sys.executable).parent}:{os.defpath}"
    return FakeKubernetes(
        images={IMAGE: shop(0.0), f"{IMAGE}:bad": shop(0.5), f"{IMAGE}:missing": MISSING},
        processes=Processes(folder / "pods", {"PATH": here}),
    )


@pytest.fixture(params=["fake", *(["real"] if KUBECONFIG else [])])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A namespace with a name that nobody else uses, which goes with everything in it."""
    with contextlib.ExitStack() as stack:
        if request.param == "fake":
            config = stack.enter_context(fake(tmp_path)).kubeconfig(tmp_path / "kubeconfig")
        else:
            config = Path(str(KUBECONFIG))
        single = KubeConfig.from_file(config).get()
        assert single is not None
        http = stack.enter_context(Client(single, ConnectionParams(timeout=httpx2.Timeout(WITHIN))))
        name = f"quadra-test-{secrets.token_hex(4)}"
        made = http.post(
            "/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        assert made.status_code == 201, made.text
        stack.callback(http.delete, f"/api/v1/namespaces/{name}")
        yield Place(http, config, name)


def wait_for(holds: Any, what: str) -> None:
    """Wait until something holds; a real cluster may pull an image first."""
    wait_until(holds, what, within=120)
