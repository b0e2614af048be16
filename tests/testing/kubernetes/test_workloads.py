"""Jobs, logs, the proxy, disruption budgets, autoscalers, quotas and routes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import Asked, FakeKubernetes, Image, Processes, Said, forward_to
from tests.services.process import wait_until
from tests.testing.kubernetes.conftest import APPS, CORE, Client
from tests.testing.kubernetes.manifests import Json, deployment, service

BATCH = "/apis/batch/v1/namespaces/default"


def job(name: str = "train", *, command: list[str] | None = None, **spec: Any) -> Json:
    container: Json = {"name": "work", "image": "job:1", "command": command or ["work"]}
    container["env"] = [{"name": "GREETING", "value": "hello"}]
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, "backoffLimit": 0, **spec},
    }


def conditions(client: Client, name: str = "train") -> list[str]:
    found = client.get(f"{BATCH}/jobs/{name}")["status"].get("conditions", [])
    return [each["type"] for each in found]


def test_a_job_runs_to_its_end(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.images["job"] = Image(runs_for=5, output="one\ntwo\nthree\n")
    cluster.create(job())
    clock.advance(4)
    active = client.get(f"{BATCH}/jobs/train")["status"]["active"]

    clock.advance(2)

    assert active == 1
    assert conditions(client) == ["Complete"]
    (pod,) = client.get(f"{CORE}/pods?labelSelector=job-name=train")["items"]
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    path = f"{CORE}/pods/{pod['metadata']['name']}/log"
    assert client.call("GET", path).body == "one\ntwo\nthree\n"
    assert client.call("GET", f"{path}?tailLines=1").body == "three\n"
    assert client.call("GET", f"{path}?limitBytes=3").body == "one"
    assert client.call("GET", f"{path}?container=other").code == 400


def test_a_job_that_fails_is_tried_as_often_as_allowed(
    cluster: FakeKubernetes, client: Client, clock: FakeClock
) -> None:
    cluster.images["job"] = Image(exit_code=3)
    cluster.create(job(backoffLimit=2))

    clock.advance(30)

    assert conditions(client) == ["Failed"]
    assert client.get(f"{BATCH}/jobs/train")["status"]["failed"] == 3


def test_a_job_past_its_deadline_is_stopped(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.images["job"] = Image(runs_for=1000)
    cluster.create(job(activeDeadlineSeconds=10))

    clock.advance(11)

    assert client.get(f"{BATCH}/jobs/train")["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    assert client.get(f"{CORE}/pods")["items"] == []


def test_a_finished_job_goes_after_its_time(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.create(job(ttlSecondsAfterFinished=60))

    clock.advance(50)
    before = client.call("GET", f"{BATCH}/jobs/train").code
    clock.advance(20)

    assert (before, client.call("GET", f"{BATCH}/jobs/train").code) == (200, 404)
    assert client.get(f"{CORE}/pods")["items"] == []


def test_the_pods_of_a_job_outlive_it_unless_told_otherwise(cluster: FakeKubernetes, client: Client) -> None:
    cluster.create(job())

    client.call("DELETE", f"{BATCH}/jobs/train")

    (pod,) = client.get(f"{CORE}/pods")["items"]
    assert pod["metadata"]["ownerReferences"] == []


def test_the_template_of_a_job_is_fixed(cluster: FakeKubernetes, client: Client) -> None:
    cluster.create(job())
    patch = {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}

    assert client.patch(f"{BATCH}/jobs/train", patch).code == 422


@pytest.fixture
def real(tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A cluster that really starts the commands of Jobs."""
    images = {"job": Image(process=True)}
    with FakeKubernetes(images=images, processes=Processes(tmp_path / "logs")) as running:
        yield running


def test_the_command_of_a_job_may_really_run(real: FakeKubernetes) -> None:
    client = Client(real.address)
    real.create(job(command=[sys.executable, "-c", "import os; print(os.environ['GREETING'])"]))

    wait_until(lambda: conditions(client) == ["Complete"], "the job to end")

    (pod,) = client.get(f"{CORE}/pods")["items"]
    assert client.call("GET", f"{CORE}/pods/{pod['metadata']['name']}/log?follow=true").body == "hello\n"


def test_a_deleted_job_ends_its_process(real: FakeKubernetes) -> None:
    client = Client(real.address)
    real.create(job(command=[sys.executable, "-c", "import time; time.sleep(600)"]))
    wait_until(lambda: client.get(f"{CORE}/pods")["items"][0]["status"]["phase"] == "Running", "the pod to run")

    client.call("DELETE", f"{BATCH}/jobs/train?propagationPolicy=Background")

    wait_until(lambda: client.get(f"{CORE}/pods")["items"] == [], "the pod to go")


def shop_pod(client: Client) -> str:
    name: str = client.get(f"{CORE}/pods")["items"][0]["metadata"]["name"]
    return name


def test_the_proxy_asks_the_pod(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    def answer(asked: Asked) -> Said:
        return Said(200, f"{asked.method} {asked.path}?{asked.query} {asked.port}".encode())

    cluster.images["shop"] = Image(answer=answer)
    cluster.create(deployment(replicas=1), service())
    clock.advance(2)

    by_pod = client.call("GET", f"{CORE}/pods/{shop_pod(client)}:5000/proxy/metrics?a=1")
    by_service = client.call("GET", f"{CORE}/services/shop:http/proxy/health/ready")

    assert by_pod.body == "GET /metrics?a=1 5000"
    assert by_service.body == "GET /health/ready? 5000"


def test_the_proxy_may_ask_a_real_server(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    class Teapot(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(418)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Teapot) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        cluster.images["shop"] = Image(answer=forward_to(f"http://127.0.0.1:{server.server_address[1]}"))
        cluster.create(deployment(replicas=1))
        clock.advance(2)
        said = client.call("GET", f"{CORE}/pods/{shop_pod(client)}/proxy/tea?milk=1")
        server.shutdown()

    assert (said.code, said.body) == (418, "/tea?milk=1")


def test_the_proxy_says_why_nobody_answers(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.create(deployment(replicas=1), service())

    early = client.call("GET", f"{CORE}/services/shop/proxy/")
    clock.advance(2)
    silent = client.call("GET", f"{CORE}/pods/{shop_pod(client)}:5000/proxy/")
    nobody = client.call("GET", f"{CORE}/pods/none/proxy/")

    assert (early.code, silent.code, nobody.code) == (503, 503, 404)
    assert "connection refused" in silent.body["message"]


def test_a_budget_stands_against_eviction(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "shop"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "shop"}}},
    }
    cluster.create(deployment(), budget)
    clock.advance(2)
    names = [pod["metadata"]["name"] for pod in client.get(f"{CORE}/pods")["items"]]

    def evict(name: str) -> int:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return client.call("POST", f"{CORE}/pods/{name}/eviction", eviction).code

    assert [evict(name) for name in names[:2]] == [201, 429]
    clock.advance(2)
    assert evict(names[1]) == 201


def autoscaler(least: int, most: int) -> Json:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "minReplicas": least,
            "maxReplicas": most,
        },
    }


def test_an_autoscaler_follows_the_load_up_at_once_and_down_in_time(
    cluster: FakeKubernetes, client: Client, clock: FakeClock
) -> None:
    def replicas() -> int:
        count: int = client.get(f"{APPS}/deployments/shop")["spec"]["replicas"]
        return count

    cluster.create(deployment(replicas=3), autoscaler(2, 10))
    clock.advance(16)
    cluster.set_load("shop", 5.5)
    clock.advance(60)
    busy = replicas()
    cluster.set_load("shop", 1)
    clock.advance(200)
    soon = replicas()
    clock.advance(200)

    assert (busy, soon, replicas()) == (6, 6, 2)


def test_an_autoscaler_keeps_to_its_bounds(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.create(deployment(replicas=1), autoscaler(3, 10))

    clock.advance(20)

    assert client.get(f"{APPS}/deployments/shop")["spec"]["replicas"] == 3
    assert (
        client.call("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", autoscaler(5, 2)).code
        == 422
    )


def test_a_quota_ends_a_rollout_with_its_reason(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "2"}},
    }
    cluster.create(quota, deployment())
    clock.advance(5)

    status = client.get(f"{APPS}/deployments/shop")["status"]

    assert status["readyReplicas"] == 2
    assert "exceeded quota: few" in status["conditions"][2]["message"]


def test_a_route_says_whether_its_back_ends_exist(cluster: FakeKubernetes, client: Client) -> None:
    group = "gateway.networking.k8s.io/v1"
    gateway = {
        "apiVersion": group,
        "kind": "Gateway",
        "metadata": {"name": "web"},
        "spec": {"gatewayClassName": "fake", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }
    backends = [{"name": "shop", "port": 80, "weight": 90}, {"name": "shop-canary", "port": 80, "weight": 10}]
    route = {
        "apiVersion": group,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": backends}]},
    }
    path = f"/apis/{group}/namespaces/default/httproutes"
    cluster.create(gateway, service(), route)

    def told() -> dict[str, str]:
        (parent,) = client.get(f"{path}/shop")["status"]["parents"]
        return {each["type"]: each["reason"] for each in parent["conditions"]}

    before = told()
    cluster.create(service("shop-canary"))

    assert before == {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
    assert told() == {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"}
    heavy = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 2_000_000}]
    assert client.patch(f"{path}/shop", heavy, "application/json-patch+json").code == 422
    strategic = "application/strategic-merge-patch+json"
    assert client.patch(f"{path}/shop", {}, strategic).code == 415


def test_a_group_that_is_not_installed_is_not_found(clock: FakeClock) -> None:
    with FakeKubernetes(clock=clock, without=["gateway.networking.k8s.io"]) as cluster:
        client = Client(cluster.address)
        found = [group["name"] for group in client.get("/apis")["groups"]]
        code = client.call("GET", "/apis/gateway.networking.k8s.io/v1/httproutes").code

    assert "gateway.networking.k8s.io" not in found
    assert code == 404
