"""The commands on a cluster, with a real clock: codes and messages, dry runs, Jobs, the promised scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
from click.testing import CliRunner, Result

from quadra_matrix.cli import main
from quadra_matrix.delivery.kubernetes.job import job, words
from quadra_matrix.delivery.kubernetes.names import Names
from quadra_matrix.delivery.model import Kind
from quadra_matrix.delivery.place import Place, Platform
from quadra_matrix.testing.kubernetes import Asked, FakeKubernetes, Image, Processes, Said
from tests.delivery.kubernetes.rig import APP, DEPLOYER, K8S, manifests, metrics, rights
from tests.services.process import needs

PLACE = ("--platform", "kubernetes")
PLAN = """
steps: [{share: 50, seconds: 1}, {share: 100, seconds: 1}]
baseline: 1
tick: 0.5
patience: 20
ready_within: 20
drain_within: 5
watch: 1
limits: {enough_points: 0.05}
"""


def answer(asked: Asked) -> Said:
    """Answer as a pod that has counted more with every question."""
    counted[asked.pod] = counted.get(asked.pod, 0) + 500
    return Said(body=metrics(counted[asked.pod], 0, 0).encode() if asked.path == "/metrics" else b'{"status": "ok"}')


counted: dict[str, float] = {}


KUBELET = """#!/bin/sh
# A pod's volume, which a kubelet would mount: the process waits for its ConfigMap, and reads it from a folder.
folder="{folder}"
export KUBECONFIG="{admin}"
until name=$(kubectl get configmaps -o name -l app.kubernetes.io/managed-by | grep -m1 canary-); do sleep 0.2; done
kubectl get "$name" -o 'jsonpath={{.data.plan\\.json}}' > "$folder/plan.json"
export KUBECONFIG="{deployer}"
for word; do
  shift
  [ "$word" = /plan/plan.json ] && word="$folder/plan.json"
  set -- "$@" "$word"
done
exec "{quadra}" "$@"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    images = {APP: Image(ready_after=0.2, answer=answer, process=True)}
    processes = Processes(tmp_path / "pods", {"PATH": f"{tmp_path / 'bin'}:{os.defpath}"})
    with FakeKubernetes(images=images, processes=processes) as running:
        things = [*manifests(K8S / "canary"), *manifests(K8S / "blue-green"), *rights()]
        running.create(*{(one["kind"], one["metadata"]["name"]): one for one in things}.values())
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path / "kubeconfig", user=DEPLOYER)))
        (tmp_path / "plan.yaml").write_text(PLAN)
        yield running


def quadra(*given: str) -> Result:
    return CliRunner().invoke(main, [*given, *PLACE])


def test_status_says_what_the_cluster_says(fake: FakeKubernetes) -> None:
    canary = json.loads(quadra("canary", "status", "--json").stdout)
    colours = json.loads(quadra("bluegreen", "status", "--json").stdout)

    assert canary["route"] == {"1.0.0": 100.0}
    assert colours["active"] == "blue"


@pytest.mark.parametrize("group", ["canary", "bluegreen"])
def test_status_never_guesses(
    fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    elsewhere = quadra(group, "status", "--namespace", "kube-system")
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path / "admin")))
    missing = quadra(group, "status", "--namespace", "kube-system")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    nowhere = quadra(group, "status")

    assert [one.exit_code for one in (elsewhere, missing, nowhere)] == [3, 2, 5]
    assert "is not allowed in namespace kube-system" in elsewhere.stderr
    assert "there is no deployments/quadra-matrix-" in missing.stderr
    assert "KUBECONFIG names one" in nowhere.stderr
    assert not any(one.stdout for one in (elsewhere, missing, nowhere))


def test_a_server_that_is_gone_is_named(fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gone"
    config.write_text((tmp_path / "kubeconfig").read_text().replace(fake.address, "http://127.0.0.1:9"))
    monkeypatch.setenv("KUBECONFIG", str(config))

    gone = quadra("canary", "status")

    assert gone.exit_code == 5
    assert "http://127.0.0.1:9" in gone.stderr


def test_a_dry_run_prints_the_calls_and_writes_nothing(fake: FakeKubernetes) -> None:
    before = len(fake.requests)

    told = quadra("canary", "deploy", "2", "--dry-run")
    listed = json.loads(quadra("bluegreen", "deploy", "2", "--dry-run", "--auto", "--json").stdout)

    assert told.exit_code == 0, told.output
    assert (
        "patch deployments/quadra-matrix-canary: /spec/template/spec/containers/0/image quadra-matrix:2" in told.stdout
    )
    assert "nothing was written" in told.stderr
    assert listed["calls"][-1]["changes"] == {"/spec/selector/colour": "green"}
    assert not [one for one in fake.requests[before:] if one.verb not in {"get", "list"}]


@pytest.mark.parametrize("option", ["--dry-run", "--in-cluster"])
def test_what_needs_a_cluster_is_refused_on_this_machine(tmp_path: Path, option: str) -> None:
    answer = CliRunner().invoke(main, ["canary", "deploy", "2", option, "--auto", "--state", str(tmp_path)])

    assert answer.exit_code == 2
    assert "--platform kubernetes" in answer.stderr


@pytest.mark.slow
def test_a_rollout_by_command_and_by_the_promised_scripts(fake: FakeKubernetes, tmp_path: Path) -> None:
    plan = ("--plan", str(tmp_path / "plan.yaml"))

    done = quadra("canary", "deploy", "2", *plan, "--json")
    switched = quadra("bluegreen", "deploy", "2", *plan, "--auto", "--json")
    script = [str(K8S.parent / "scripts" / "blue-green-deploy.sh"), "rollback", *PLACE, "--json"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "KUBECONFIG": str(tmp_path / "kubeconfig")}
    back = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False, env=environment)

    assert (done.exit_code, json.loads(done.stdout)["phase"]) == (0, "done"), done.stderr
    assert (switched.exit_code, json.loads(switched.stdout)["phase"]) == (0, "live"), switched.stderr
    assert (back.returncode, json.loads(back.stdout)["phase"]) == (0, "rolled-back"), back.stderr


@pytest.mark.slow
def test_a_rollout_in_the_cluster_is_watched_from_outside(
    fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job's own command does it, with the deployer's rights alone; who submits it needs more than those."""
    needs("kubectl", "apt-get install kubernetes-client")
    pod = tmp_path / "bin" / "quadra"
    pod.parent.mkdir()
    pod.write_text(
        KUBELET.format(
            folder=tmp_path, admin=fake.kubeconfig(tmp_path / "admin"), deployer=tmp_path / "kubeconfig",
            quadra=Path(sys.executable).with_name("quadra"),
        )
    )  # fmt: skip
    pod.chmod(0o755)

    order = ("canary", "deploy", "2", "--plan", str(tmp_path / "plan.yaml"), "--in-cluster", "--json")

    refused = quadra(*order)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "admin"))
    done = quadra(*order)

    assert (done.exit_code, json.loads(done.stdout)["phase"]) == (0, "done"), done.stderr
    assert "runs the rollout; its log: kubectl logs" in done.stderr
    assert json.loads(quadra("canary", "status", "--json").stdout)["route"] == {"2": 100.0}
    assert refused.exit_code == 3


def test_the_job_of_a_rollout_fits_the_published_schema_and_gives_up_every_right_it_can() -> None:
    command = words(Kind.CANARY, "2", Place(Platform.KUBERNETES), "shop", ["--wait"])
    body = job("shop-canary-1", "shop:1", command, Names("shop"))

    kubernetes_validate.validate(body, "1.32", strict=True)
    pod = body["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "shop-deployer"
    assert pod["containers"][0]["command"][:4] == ["quadra", "canary", "deploy", "2"]
    assert body["spec"]["backoffLimit"] == 0


def test_an_image_that_a_container_runtime_could_not_tag_is_refused(fake: FakeKubernetes) -> None:
    answer = quadra("canary", "deploy", "2", "--image", "shop:latest")

    assert answer.exit_code == 2
    assert ":{version}" in answer.stderr
