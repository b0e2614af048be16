"""Jobs: pods that run to their end, again after a failure as often as allowed."""

from __future__ import annotations

from collections.abc import Sequence

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.controllers.replicasets import pod_of
from quadra_matrix.testing.kubernetes.kinds import JOB, POD
from quadra_matrix.testing.kubernetes.objects import Json, clone, condition, controller_of, dig, is_terminating, name_of

LABELS = ("batch.kubernetes.io/job-name", "job-name")


class Jobs:
    """Runs Jobs."""

    def reconcile(self, cluster: Cluster) -> float:
        """Start the pods that are missing and write down how each Job stands."""
        due = NEVER
        for job in cluster.storage.list(JOB):
            if not is_terminating(job):
                pods = [pod for pod in cluster.storage.list(POD) if controller_of(pod) == job["metadata"]["uid"]]
                due = min(due, self._move(cluster, job, pods))
        return due

    def _move(self, cluster: Cluster, job: Json, pods: Sequence[Json]) -> float:
        uid, spec = job["metadata"]["uid"], job["spec"]
        if any(condition(job, name) for name in ("Complete", "Failed")):
            return self._forget(cluster, job)
        begun = cluster.mark(uid, "started")
        deadline = begun + spec.get("activeDeadlineSeconds", NEVER)
        phases = [dig(pod, "status", "phase") for pod in pods]
        done, failed = phases.count("Succeeded"), phases.count("Failed")
        active = [pod for pod in pods if dig(pod, "status", "phase") in {"Pending", "Running"}]
        verdict = _verdict(spec, done=done, failed=failed, late=deadline <= cluster.now)
        if verdict is None and not spec.get("suspend"):
            missing = min(spec["parallelism"], spec["completions"] - done) - len(active)
            active.extend(cluster.create(POD, _pod(job)) for _ in range(missing))
        else:
            for pod in active:
                if not is_terminating(pod):
                    cluster.delete(POD, pod)
            active = []
        self._report(cluster, job, verdict, active=len(active), succeeded=done, failed=failed)
        return deadline if verdict is None else NEVER

    def _report(self, cluster: Cluster, job: Json, verdict: tuple[str, str, str] | None, **counts: int) -> None:
        """Write the status of a Job."""
        status = {**job.get("status", {}), "ready": 0}
        status.setdefault("startTime", cluster.text_now())
        for name, count in counts.items():
            status.pop(name, None)
            status |= {name: count} if count else {}
        if verdict is not None:
            kind, reason, message = verdict
            now = cluster.text_now()
            told = {"type": kind, "status": "True", "reason": reason, "message": message}
            status["conditions"] = [{**told, "lastProbeTime": now, "lastTransitionTime": now}]
            status |= {"completionTime": now} if kind == "Complete" else {}
            cluster.mark(job["metadata"]["uid"], "over")
        cluster.update(JOB, {**job, "status": status})

    def _forget(self, cluster: Cluster, job: Json) -> float:
        """Delete a Job that ended long enough ago."""
        lasts = job["spec"].get("ttlSecondsAfterFinished")
        if lasts is None:
            return NEVER
        ends: float = cluster.mark(job["metadata"]["uid"], "over") + lasts
        if ends <= cluster.now:
            cluster.delete(JOB, job)
        return ends


def _verdict(spec: Json, *, done: int, failed: int, late: bool) -> tuple[str, str, str] | None:
    """Return how a Job ended: condition, reason and message; None while it goes on."""
    if done >= spec["completions"]:
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    if failed > spec["backoffLimit"]:
        return ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if late:
        return ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    return None


def _pod(job: Json) -> Json:
    """Return a new pod of a Job."""
    template = clone(job["spec"]["template"])
    template.setdefault("metadata", {}).setdefault("labels", {}).update(dict.fromkeys(LABELS, name_of(job)))
    return pod_of(job, template)
