"""Runs jobs on a Kubernetes cluster: each is one Kubernetes Job with the image of the service.

The Job's pod is a copy of the service's own: same image, variables, volumes and service account. It attends to the job
as a worker of this machine would, through the job table: it needs a database that pods reach (PostgreSQL) and a data
folder that they share. Whoever runs this may get and list pods, get pods/log, and create, list and delete Jobs.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import JobLogUnavailable, MissingExtra
from quadra_matrix.store import Job, JobStore

try:
    import httpx2
    from lightkube import ApiError, Client
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.resources.batch_v1 import Job as KubernetesJob
    from lightkube.resources.core_v1 import Pod
    from lightkube.types import CascadeType
except ModuleNotFoundError as missing:
    raise MissingExtra("lightkube", "kubernetes") from missing

log = logging.getLogger(__name__)

ATTEND = "quadra_matrix.service.jobs.attend"
LABEL = "quadra-matrix.io/job"
"""Label of everything that belongs to a job; its value is the job's id."""

KEPT_FOR = 24 * 3600
"""Seconds for which a finished Job and its log stay in the cluster."""

BETWEEN_LOOKS = 1.0
"""Seconds between two looks at the cluster: one list of Jobs each."""

STARTS_WITHIN = 300.0
"""Seconds within which a pod must have begun its job: time to find a node and to pull an image."""

STOPS_WITHIN = 15.0
"""Seconds that a pod has to stop a cancelled job by itself; then its Job is deleted."""

MOST_LOG = 65_536
"""Characters of a log that are returned: the last ones."""

MOST_LINES = 5_000
"""Lines of a log that are read for them."""

TIMEOUT = 10.0
"""Seconds one request to the API server may take."""

OF_A_POD = (
    "serviceAccountName",
    "imagePullSecrets",
    "securityContext",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "volumes",
)
"""What the pod of a job takes over from the pod of the service."""

OF_A_CONTAINER = (
    "image",
    "imagePullPolicy",
    "env",
    "envFrom",
    "volumeMounts",
    "resources",
    "securityContext",
    "workingDir",
)
"""What the container of a job takes over from that of the service."""

INJECTED = "kube-api-access-"
"""How the names of volumes begin that the cluster puts into every pod."""


class KubernetesExecutor:
    """An ``Executor`` on a Kubernetes cluster. For one thread.

    Jobs outlive it: their pods renew the leases and record how they ended while the service restarts.
    """

    def __init__(
        self,
        jobs: JobStore,
        *,
        pod: str | None = None,
        namespace: str | None = None,
        config: KubeConfig | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Use the cluster of ``config``: by default the one that this process runs in, else that of the kubeconfig.

        ``pod`` is the one that the pods of jobs are copies of; in a cluster this process's own by default. Raises
        ``lightkube.ConfigError`` without a cluster.
        """
        timeout = httpx2.Timeout(TIMEOUT)
        self._client = Client(config, namespace=namespace, timeout=timeout, field_manager="quadra-matrix")
        self._pod = pod or socket.gethostname()
        self._jobs, self._clock = jobs, clock
        self._submitted: dict[str, float] = {}
        self._cancelled: dict[str, float] = {}
        self._looked = -BETWEEN_LOOKS

    def submit(self, job: Job, work: str) -> None:
        """Create the Kubernetes Job, once: one that is there is left as it is."""
        service = self._client.get(Pod, self._pod).to_dict()
        self._submitted[job.id] = self._clock.monotonic()
        wanted = KubernetesJob.from_dict(manifest(service, job.id, work))
        assert isinstance(wanted, KubernetesJob)  # lightkube promises less than it returns
        try:
            self._client.create(wanted)
        except ApiError as refused:
            if refused.status.reason != "AlreadyExists":  # an answer that was lost, and a second attempt
                raise

    def cancel(self, job_id: str) -> None:
        """Leave the stopping to the pod, which reads the cancel in the job table; delete one that does not stop."""
        asked = self._cancelled.setdefault(job_id, self._clock.monotonic())
        if self._clock.monotonic() - asked >= STOPS_WITHIN:
            self._delete(job_id)

    def poll(self) -> Sequence[str]:
        """Return the jobs whose Kubernetes Job ended, is gone or never began."""
        now = self._clock.monotonic()
        if not self._submitted or now - self._looked < BETWEEN_LOOKS:
            return ()
        self._looked = now
        found = {job_of(each): has_ended(each) for each in self._client.list(KubernetesJob, labels={LABEL: None})}
        over = [job for job in self._submitted if found.get(job, True)]
        for job, since in self._submitted.items():
            if job not in over and not self._begins(job, late=now - since >= STARTS_WITHIN):
                self._delete(job)
                over.append(job)
        for job in over:
            del self._submitted[job]
            self._cancelled.pop(job, None)
        return over

    def logs(self, job_id: str) -> str:
        """Return what the job's process wrote last. Raises ``JobLogUnavailable`` when the cluster does not say."""
        try:
            pods = [str(pod.metadata.name) for pod in self._client.list(Pod, labels={LABEL: job_id}) if pod.metadata]
            return "".join(line for name in pods for line in self._client.log(name, tail_lines=MOST_LINES))[-MOST_LOG:]
        except httpx2.HTTPError as failed:
            raise JobLogUnavailable(job_id, str(failed)) from failed

    def __enter__(self) -> KubernetesExecutor:
        """Return the executor."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster and what runs there."""
        self._client.close()

    def _begins(self, job_id: str, *, late: bool) -> bool:
        """Tell whether a job goes on or still may: not one that was cancelled first, nor one that waits too long."""
        job = self._jobs.get(job_id)
        if job.holder is not None:
            return True
        if late:
            log.error("job %s: no pod began it within %g s; it is given up", job_id, STARTS_WITHIN)
        return not late and not job.state.is_over

    def _delete(self, job_id: str) -> None:
        """Delete the Kubernetes Job and its pod, if it is there."""
        try:
            self._client.delete(KubernetesJob, name_of(job_id), cascade=CascadeType.BACKGROUND)
        except ApiError as refused:
            if refused.status.code != 404:
                raise


def name_of(job_id: str) -> str:
    """Return the name of a job's Kubernetes Job."""
    return f"quadra-matrix-job-{job_id}"


def job_of(job: KubernetesJob) -> str:
    """Return the id of the job that a Kubernetes Job runs."""
    labels = (job.metadata.labels if job.metadata else None) or {}
    found: str = labels.get(LABEL, "")
    return found


def has_ended(job: KubernetesJob) -> bool:
    """Tell whether a Kubernetes Job is complete or failed."""
    conditions = (job.status.conditions if job.status else None) or []
    return any(each.type in {"Complete", "Failed"} and each.status == "True" for each in conditions)


def manifest(pod: Mapping[str, Any], job_id: str, work: str) -> dict[str, Any]:
    """Return the Kubernetes Job that attends to a job in a copy of the service's pod."""
    service, labels = pod["spec"]["containers"][0], {LABEL: job_id, "app.kubernetes.io/managed-by": "quadra-matrix"}
    container = {name: service[name] for name in OF_A_CONTAINER if service.get(name)}
    container |= {"name": "job", "command": ["python", "-m", ATTEND, job_id, work]}
    container["volumeMounts"] = _own(container.get("volumeMounts", ()))
    spec = {name: pod["spec"][name] for name in OF_A_POD if pod["spec"].get(name)}
    spec |= {"volumes": _own(spec.get("volumes", ())), "restartPolicy": "Never", "containers": [container]}
    spec["automountServiceAccountToken"] = False  # a job asks the database alone
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name_of(job_id), "labels": labels},
        "spec": {
            "backoffLimit": 0,  # the job table decides whether a job is tried again
            "ttlSecondsAfterFinished": KEPT_FOR,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _own(volumes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the volumes or mounts without those that the cluster injects; it injects its own into every pod."""
    return [volume for volume in volumes if not volume["name"].startswith(INJECTED)]
