"""The shipped manifests and the command, on the fake and on a real cluster alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import IMAGE, Json, Place, wait_for
from tests.services.process import needs

pytestmark = pytest.mark.slow

K8S = Path(__file__).parents[2] / "k8s"
WITHIN = 300
"""Seconds a rollout may take on a real cluster that pulls and schedules."""

PLAN = """
steps:
  - {share: 50, seconds: 3}
  - {share: 100, seconds: 3}
baseline: 3
tick: 1
patience: 90
ready_within: 30
watch: 2
drain_within: 10
limits: {enough_points: 0.03}
"""


def manifests(base: str) -> Iterator[Json]:
    """Yield what a kustomization makes, small enough for one node, with the image of these tests."""
    needs("kubectl", "apt-get install kubernetes-client")
    built = subprocess.run(["kubectl", "kustomize", str(K8S / base)], capture_output=True, text=True, check=True)
    for thing in yaml.safe_load_all(built.stdout):
        if thing["kind"] == "ServiceMonitor":  # only there with the Prometheus operator
            continue
        if thing["kind"] == "Deployment":
            _shrink(thing["spec"])
        if thing["kind"] == "Service":
            thing["spec"]["type"] = "ClusterIP"
            thing["spec"].pop("externalTrafficPolicy", None)
        yield thing


def _shrink(spec: Json) -> None:
    """Let a Deployment run the image of these tests in a few small pods."""
    template = spec["template"]
    spec["replicas"] = min(spec["replicas"], 3)
    template["metadata"]["labels"]["version"] = "1"
    template["spec"]["terminationGracePeriodSeconds"] = 2
    container = template["spec"]["containers"][0]
    for name in ("command", "envFrom", "lifecycle", "startupProbe"):
        container.pop(name, None)
    container |= {"image": f"{IMAGE}:1", "imagePullPolicy": "IfNotPresent"}
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    container["readinessProbe"]["periodSeconds"] = 1


@pytest.fixture
def shop(place: Place, tmp_path: Path) -> Place:
    """The canary's objects, all ready."""
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests("canary")))
    kubectl(place, "apply", "-f", str(file))
    kubectl(place, "rollout", "status", "deployment/quadra-matrix-stable", f"--timeout={WITHIN}s")
    kubectl(place, "rollout", "status", "deployment/quadra-matrix-canary", f"--timeout={WITHIN}s")
    return place


def kubectl(place: Place, *words: str) -> str:
    command = ["kubectl", f"--kubeconfig={place.kubeconfig}", f"--namespace={place.namespace}", *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def quadra(place: Place, folder: Path, *words: str, code: int = 0) -> Any:
    """Run a command of a delivery and return what it printed as JSON."""
    plan = folder / "plan.yaml"
    plan.write_text(PLAN)
    options = ["--platform", "kubernetes", "--namespace", place.namespace, "--json"]
    more = ["--plan", str(plan), "--auto"] if words[1] == "deploy" else []
    ran = subprocess.run(
        [sys.executable, "-m", "quadra_matrix", *words, *options, *more],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        env={**os.environ, "KUBECONFIG": str(place.kubeconfig)},
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def images(place: Place) -> set[str]:
    """Return what the live pods run."""
    live = [pod for pod in place.pods() if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"]["containers"][0]["image"] for pod in live}


def test_a_good_version_takes_over(shop: Place, tmp_path: Path) -> None:
    quadra(shop, tmp_path, "canary", "deploy", "2")

    wait_for(lambda: images(shop) == {f"{IMAGE}:2"}, "every pod to run version 2")


def test_a_bad_version_goes_back_by_itself(shop: Place, tmp_path: Path) -> None:
    quadra(shop, tmp_path, "canary", "deploy", "bad", code=1)

    wait_for(lambda: images(shop) == {f"{IMAGE}:1"}, "every pod to run version 1")


def test_an_image_that_nobody_has_goes_back_by_itself(shop: Place, tmp_path: Path) -> None:
    quadra(shop, tmp_path, "canary", "deploy", "missing", code=1)

    wait_for(lambda: images(shop) == {f"{IMAGE}:1"}, "every pod to run version 1")
