"""Jobs on Kubernetes: a fake API server whose pods are real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube.config.kubeconfig import KubeConfig

from quadra_matrix.errors import JobLogUnavailable
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.jobs.kubernetes import LABEL, STARTS_WITHIN, STOPS_WITHIN, KubernetesExecutor, manifest
from quadra_matrix.service.jobs.runner import Runner
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job, JobState
from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import MISSING, FakeKubernetes, Fault, Image, Processes
from tests.service.conftest import Submit
from tests.service.jobs.kinds import KINDS
from tests.services.process import wait_until


def service_pod(name: str = "quadra-matrix-0") -> dict[str, Any]:
    """Return the pod of the service, as its Deployment would have made it."""
    token = {"name": "kube-api-access-x7k2p", "emptyDir": {}}
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": token["name"], "mountPath": "/token"}]
    container = {
        "name": "quadra-matrix",
        "image": "quadra-matrix:7",
        "env": [{"name": "QUADRA_LOG_LEVEL", "value": "INFO"}],
        "envFrom": [{"secretRef": {"name": "quadra-matrix"}}],
        "ports": [{"containerPort": 5000}],
        "volumeMounts": mounts,
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    spec = {
        "serviceAccountName": "quadra-matrix",
        "securityContext": {"runAsNonRoot": True},
        "containers": [container, {"name": "sidecar", "image": "proxy:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "quadra-data"}}, token],
    }
    metadata = {"name": name, "labels": {"app": "quadra-matrix"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture
def cluster(settings: Settings, tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A cluster whose pods run this package, and the service's own pod in it."""
    environment = {**settings.child_environment(), "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    environment["PYTHONPATH"] = str(Path.cwd())
    processes = Processes(tmp_path / "pods", environment)
    with FakeKubernetes(images={"quadra-matrix": Image(process=True)}, processes=processes) as running:
        running.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "quadra-matrix"}})
        pod = service_pod()
        pod["spec"]["containers"][0]["image"] = "quadra-matrix:7"
        running.create(pod)
        yield running


def executor_of(cluster: FakeKubernetes, jobs: SqlJobs, tmp_path: Path, **options: Any) -> KubernetesExecutor:
    config = KubeConfig.from_file(cluster.kubeconfig(tmp_path / "kubeconfig"))
    return KubernetesExecutor(jobs, pod="quadra-matrix-0", config=config, **options)


def runner_of(executor: KubernetesExecutor, jobs: SqlJobs, **options: Any) -> Runner:
    return Runner(
        owner="here", jobs=jobs, queue=jobs, executor=executor, kinds=KINDS, max_running=9, lease=30.0, **options
    )


def step_until(runner: Runner, jobs: SqlJobs, job: Job, *states: JobState) -> Job:
    """Let the runner work until a job is in one of these states."""

    def reached() -> bool:
        runner.step()
        return jobs.get(job.id).state in states

    wait_until(reached, f"{states}, is {jobs.get(job.id)}")
    return jobs.get(job.id)


def test_a_jobs_pod_is_a_copy_of_the_services() -> None:
    made = manifest(service_pod(), "0" * 32, "module:function")

    spec = made["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (container["image"], container["envFrom"]) == ("quadra-matrix:7", [{"secretRef": {"name": "quadra-matrix"}}])
    assert container["command"][-2:] == ["0" * 32, "module:function"]
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert "ports" not in container
    assert (spec["serviceAccountName"], spec["securityContext"]) == ("quadra-matrix", {"runAsNonRoot": True})
    assert [volume["name"] for volume in spec["volumes"]] == ["data"]
    assert spec["automountServiceAccountToken"] is False
    assert made["spec"]["template"]["metadata"]["labels"] == {
        LABEL: "0" * 32,
        "app.kubernetes.io/managed-by": "quadra-matrix",
    }


@pytest.mark.slow
def test_jobs_run_fail_and_report_into_the_job_table(
    cluster: FakeKubernetes, jobs: SqlJobs, submit: Submit, tmp_path: Path
) -> None:
    done, refused, died = submit("quick", model="m"), submit("refuses"), submit("dies")
    with executor_of(cluster, jobs, tmp_path) as executor:
        runner = runner_of(executor, jobs)

        for job in (done, refused, died):
            step_until(runner, jobs, job, JobState.SUCCEEDED, JobState.FAILED)
        written = executor.logs(refused.id)

    assert jobs.get(done.id).result == {"echo": {"model": "m"}}
    assert jobs.get(done.id).metrics
    assert "must be a column" in str(jobs.get(refused.id).error)
    assert "killed by signal 9" in str(jobs.get(died.id).error)
    assert f"job {refused.id} failed" in written


@pytest.mark.slow
def test_a_running_job_is_cancelled_by_its_pod(
    cluster: FakeKubernetes, jobs: SqlJobs, submit: Submit, tmp_path: Path
) -> None:
    job = submit("hangs")
    with executor_of(cluster, jobs, tmp_path) as executor:
        runner = runner_of(executor, jobs)
        step_until(runner, jobs, job, JobState.RUNNING)

        jobs.change(job.id, lambda found: machine.ask_to_cancel(found, now=1000.0))

        step_until(runner, jobs, job, JobState.CANCELLED)


@pytest.mark.slow
def test_a_job_whose_kubernetes_job_is_deleted_is_interrupted(
    cluster: FakeKubernetes, jobs: SqlJobs, submit: Submit, tmp_path: Path
) -> None:
    job = submit("hangs")
    with executor_of(cluster, jobs, tmp_path) as executor:
        runner = runner_of(executor, jobs)
        step_until(runner, jobs, job, JobState.RUNNING)

        executor._delete(job.id)

        step_until(runner, jobs, job, JobState.INTERRUPTED)


@pytest.fixture
def still(
    jobs: SqlJobs, submit: Submit, tmp_path: Path
) -> Iterator[tuple[FakeKubernetes, KubernetesExecutor, FakeClock]]:
    """A cluster in which no pod of a job ever starts, under a fake clock."""
    clock = FakeClock(now=1000.0)
    with FakeKubernetes(clock=clock, images={"quadra-matrix": MISSING}) as cluster:
        cluster.create(service_pod())
        with executor_of(cluster, jobs, tmp_path, clock=clock) as executor:
            yield cluster, executor, clock


Still = tuple[FakeKubernetes, KubernetesExecutor, FakeClock]


def jobs_in(cluster: FakeKubernetes) -> list[str]:
    return [seen.verb for seen in cluster.requests if seen.resource == "jobs" and seen.code < 300]


def test_a_pod_that_never_begins_is_given_up(still: Still, jobs: SqlJobs, submit: Submit) -> None:
    cluster, executor, clock = still
    job = submit("quick")
    runner = runner_of(executor, jobs, clock=clock)
    runner.step()

    clock.advance(STARTS_WITHIN - 1)
    runner.step()
    before = jobs.get(job.id).state
    clock.advance(2)
    runner.step()

    assert before is JobState.STARTING
    assert jobs.get(job.id).state is JobState.INTERRUPTED
    assert jobs_in(cluster)[-1] == "delete"


def test_a_job_that_was_cancelled_before_it_began_is_deleted(still: Still, jobs: SqlJobs, submit: Submit) -> None:
    cluster, executor, clock = still
    job = submit("quick")
    runner = runner_of(executor, jobs, clock=clock)
    runner.step()

    jobs.change(job.id, lambda found: machine.ask_to_cancel(found, now=clock.now()))
    clock.advance(2)
    runner.step()

    assert jobs.get(job.id).state is JobState.CANCELLED
    assert jobs_in(cluster)[-1] == "delete"


def test_a_pod_that_does_not_stop_is_deleted(still: Still, jobs: SqlJobs, submit: Submit) -> None:
    cluster, executor, clock = still
    job = submit("quick")
    executor.submit(job, "module:function")

    executor.cancel(job.id)
    early = jobs_in(cluster)
    clock.advance(STOPS_WITHIN)
    executor.cancel(job.id)
    executor.cancel(job.id)

    assert early == ["create"]
    assert jobs_in(cluster) == ["create", "delete"]


def test_a_lost_answer_does_not_start_a_job_twice(still: Still, submit: Submit) -> None:
    cluster, executor, _ = still
    job = submit("quick")
    cluster.faults.add(Fault(cut="after"), verb="create", resource="jobs")
    with pytest.raises(Exception, match="disconnected"):
        executor.submit(job, "module:function")

    executor.submit(job, "module:function")

    assert [seen.code for seen in cluster.requests if seen.resource == "jobs"] == [201, 409]


def test_the_cluster_is_asked_once_a_second(still: Still, submit: Submit) -> None:
    cluster, executor, clock = still
    executor.submit(submit("quick"), "module:function")

    for _ in range(10):
        executor.poll()
        clock.advance(0.2)

    assert jobs_in(cluster).count("list") == 2


def test_a_job_that_ended_is_told_once(still: Still, submit: Submit) -> None:
    cluster, executor, clock = still
    cluster.images["quadra-matrix"] = Image(runs_for=5)
    job = submit("quick")
    executor.submit(job, "module:function")
    clock.advance(10)

    told = executor.poll()
    clock.advance(10)

    assert (told, executor.poll()) == ([job.id], ())


def test_a_log_that_cannot_be_read_says_why(still: Still, submit: Submit) -> None:
    _, executor, _ = still
    job = submit("quick")
    executor.submit(job, "module:function")

    with pytest.raises(JobLogUnavailable, match="waiting to start"):
        executor.logs(job.id)

    assert executor.logs("f" * 32) == ""


def test_a_long_log_is_cut_to_its_end(still: Still, submit: Submit) -> None:
    cluster, executor, _ = still
    cluster.images["quadra-matrix"] = Image(output="x" * 100_000 + "end\n")
    job = submit("quick")
    executor.submit(job, "module:function")

    written = executor.logs(job.id)

    assert (len(written), written[-4:]) == (65_536, "end\n")


def test_the_documented_rules_are_enough(still: Still, jobs: SqlJobs, submit: Submit, tmp_path: Path) -> None:
    cluster, _, clock = still
    page = Path("docs/how-to/run-training-jobs.md").read_text()
    rules = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["rules"]
    account = "system:serviceaccount:default:quadra-matrix"
    version = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "quadra-matrix"}}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "quadra-matrix"}
    who = [{"kind": "ServiceAccount", "name": "quadra-matrix"}]
    cluster.create({**version, "kind": "Role", "rules": rules})
    cluster.create({**version, "kind": "RoleBinding", "roleRef": to, "subjects": who})
    cluster.images["quadra-matrix"] = Image(output="hello\n")
    config = KubeConfig.from_file(cluster.kubeconfig(tmp_path / "account", user=account))
    job = submit("quick")

    with KubernetesExecutor(jobs, pod="quadra-matrix-0", config=config, clock=clock) as executor:
        executor.submit(job, "module:function")
        told = executor.poll()
        written = executor.logs(job.id)
        executor.cancel(job.id)
        clock.advance(STOPS_WITHIN)
        executor.cancel(job.id)

    assert (told, written) == ([], "hello\n")
    assert jobs_in(cluster)[-1] == "delete"
    assert {seen.user for seen in cluster.requests if seen.resource == "pods/log"} == {account}
