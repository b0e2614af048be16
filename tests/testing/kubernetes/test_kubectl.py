"""The stock kubectl works against the fake: what it does not understand, the fake does wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quadra_matrix.testing.kubernetes import MISSING, FakeKubernetes, Image
from tests.services.process import needs
from tests.testing.kubernetes.manifests import Json, deployment, service

WITHIN = 30


@dataclass(frozen=True)
class Kubectl:
    """The command, pointed at a cluster."""

    program: str
    config: Path

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """Run a command and return what it wrote; it must end as expected."""
        ran = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=WITHIN, check=False)
        assert (ran.returncode != 0) is fails, f"{arguments}: {ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    def command(self, *arguments: str) -> list[str]:
        """Return the words of a command."""
        cache = self.config.with_name("cache")
        return [self.program, f"--kubeconfig={self.config}", f"--cache-dir={cache}", *arguments]


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    """A cluster on the real clock, because kubectl waits on it."""
    with FakeKubernetes(images={"shop": Image(ready_after=0.1), "shop:missing": MISSING}) as running:
        yield running


@pytest.fixture
def kubectl(cluster: FakeKubernetes, tmp_path: Path) -> Kubectl:
    program = needs("kubectl", "apt-get install kubernetes-client")
    return Kubectl(program, cluster.kubeconfig(tmp_path / "config"))


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., str]:
    """Write a file with a Deployment and its Service."""

    def write(**changes: object) -> str:
        shop: Json = deployment(**changes)  # type: ignore[arg-type]
        path = tmp_path / "shop.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [shop, service()]}))
        return str(path)

    return write


def test_apply_get_and_diff(kubectl: Kubectl, manifest: Callable[..., str]) -> None:
    created = kubectl("apply", "-f", manifest())
    unchanged = kubectl("apply", "-f", manifest())
    different = kubectl("diff", "-f", manifest(replicas=4), fails=True)
    kubectl("rollout", "status", "deployment/shop", "--timeout=20s")
    table = kubectl("get", "deploy,svc")

    assert created == "deployment.apps/shop created\nservice/shop created\n"
    assert unchanged == "deployment.apps/shop unchanged\nservice/shop unchanged\n"
    assert "-  replicas: 3\n+  replicas: 4\n" in different
    assert table.splitlines()[1].split()[:4] == ["deployment.apps/shop", "3/3", "3", "3"]
    assert kubectl("get", "pods", "-l", "app=shop", "-o", "name").count("pod/shop-") == 3


def test_apply_by_the_server_finds_conflicts(kubectl: Kubectl, manifest: Callable[..., str]) -> None:
    kubectl("apply", "--server-side", "-f", manifest())
    kubectl("scale", "deployment/shop", "--replicas=5")

    refused = kubectl("apply", "--server-side", "-f", manifest(), fails=True)
    forced = kubectl("apply", "--server-side", "--force-conflicts", "-f", manifest())

    assert ".spec.replicas" in refused
    assert "deployment.apps/shop serverside-applied" in forced


def test_a_typing_mistake_is_refused_before_anything_is_written(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "typo.json"
    path.write_text(json.dumps(deployment(replica=3)))

    assert "replica" in kubectl("apply", "-f", str(path), fails=True)
    assert "not found" in kubectl("get", "deployment", "shop", fails=True)


def test_a_new_image_rolls_out_and_back(kubectl: Kubectl, manifest: Callable[..., str]) -> None:
    kubectl("apply", "-f", manifest())
    kubectl("rollout", "status", "deployment/shop", "--timeout=20s")

    kubectl("set", "image", "deployment/shop", "web=shop:2")
    done = kubectl("rollout", "status", "deployment/shop", "--timeout=20s")
    kubectl("rollout", "undo", "deployment/shop")
    kubectl("rollout", "status", "deployment/shop", "--timeout=20s")

    assert 'deployment "shop" successfully rolled out' in done
    images = kubectl("get", "deployment", "shop", "-o", "jsonpath={.spec.template.spec.containers[*].image}")
    assert images == "shop:1 proxy:1"
    history = kubectl("rollout", "history", "deployment/shop").splitlines()
    assert [line.split()[0] for line in history if line[:1].isdigit()] == ["2", "3"]


def test_an_image_that_is_missing_ends_at_the_deadline(kubectl: Kubectl, manifest: Callable[..., str]) -> None:
    kubectl("apply", "-f", manifest(image="shop:missing", progressDeadlineSeconds=1))

    status = kubectl("rollout", "status", "deployment/shop", "--timeout=20s", fails=True)

    assert "exceeded its progress deadline" in status
    assert "ErrImagePull" in kubectl("get", "pods")


def test_wait_scale_patch_and_delete(kubectl: Kubectl, manifest: Callable[..., str]) -> None:
    kubectl("apply", "-f", manifest())
    waited = kubectl("wait", "--for=condition=Available", "deployment/shop", "--timeout=20s")
    kubectl("scale", "deployment/shop", "--replicas=1")
    kubectl("patch", "service", "shop", "-p", '{"spec": {"selector": {"track": "green"}}}')
    stale = '[{"op": "test", "path": "/spec/selector/track", "value": "blue"}]'
    kubectl("patch", "service", "shop", "--type=json", "-p", stale, fails=True)

    assert waited == "deployment.apps/shop condition met\n"
    assert kubectl("get", "service", "shop", "-o", "jsonpath={.spec.selector.track}") == "green"
    kubectl("delete", "deployment", "shop", "--wait=false")
    assert "No resources found" in kubectl("get", "pods")


def test_a_watch_shows_what_happens(kubectl: Kubectl, cluster: FakeKubernetes, manifest: Callable[..., str]) -> None:
    kubectl("apply", "-f", manifest())
    with subprocess.Popen(
        kubectl.command("get", "deployment", "shop", "--watch", "-o", "jsonpath={.spec.replicas} "),
        stdout=subprocess.PIPE,
    ) as watch:
        assert watch.stdout is not None
        seen = watch.stdout.read(2)
        kubectl("scale", "deployment/shop", "--replicas=7")
        while b"7" not in seen:
            seen += watch.stdout.read(2)
        watch.kill()

    assert seen.startswith(b"3 ")
