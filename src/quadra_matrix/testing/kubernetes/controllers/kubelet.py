"""The scheduler and the kubelets: pods find a node, start, become ready, crash and end, as their images say."""

from __future__ import annotations

from quadra_matrix.testing.kubernetes.cluster import NEVER, Cluster
from quadra_matrix.testing.kubernetes.images import Image, behaviour
from quadra_matrix.testing.kubernetes.kinds import POD
from quadra_matrix.testing.kubernetes.objects import Json, condition, dig, is_terminating, moment

NODE = "node-1"
BACK_OFF = 10.0
"""Seconds until a container that crashed is started again."""
OVER = frozenset({"Succeeded", "Failed"})


class Kubelet:
    """Runs pods."""

    def __init__(self) -> None:
        self._addresses = 0

    def reconcile(self, cluster: Cluster) -> float:
        """Give every pod the state that its image has at this moment of its life."""
        pods = [pod for pod in cluster.storage.list(POD) if _lives(pod)]
        placed = sum(bool(dig(pod, "spec", "nodeName")) for pod in pods)
        due = NEVER
        for pod in sorted(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"])):
            if is_terminating(pod):
                due = min(due, _end(cluster, pod))
            elif dig(pod, "spec", "nodeName"):
                due = min(due, _run(cluster, pod))
            elif cluster.capacity is not None and placed >= cluster.capacity:
                cluster.update(POD, {**pod, "status": _unscheduled(cluster, pod)})
            else:
                placed += 1
                due = min(due, _run(cluster, self._placed(cluster, pod)))
        return due

    def _placed(self, cluster: Cluster, pod: Json) -> Json:
        """Bind a pod to the node."""
        self._addresses += 1
        cluster.mark(pod["metadata"]["uid"], "started")
        status = {
            "phase": "Pending",
            "podIP": f"10.244.{self._addresses // 250}.{self._addresses % 250 + 1}",
            "hostIP": "192.0.2.1",
            "startTime": cluster.text_now(),
        }
        return cluster.update(POD, {**pod, "spec": {**pod["spec"], "nodeName": NODE}, "status": status})


def _lives(pod: Json) -> bool:
    """Tell whether there is something to do for a pod: it has not ended, or is to go."""
    return is_terminating(pod) or dig(pod, "status", "phase") not in OVER


def _run(cluster: Cluster, pod: Json) -> float:
    """Bring one pod up to date and return when it changes next."""
    uid, image = pod["metadata"]["uid"], _image(cluster, pod)
    started = cluster.mark(uid, "started")
    if pod["spec"].get("restartPolicy") != "Always" and image.fails is None:
        return _run_to_the_end(cluster, pod, image)
    if started + image.crashes_after <= cluster.now:
        cluster.marks[uid, "restarts"] = cluster.marks.get((uid, "restarts"), 0) + 1
        started = cluster.marks[uid, "started"] = started + image.crashes_after + BACK_OFF
    waits = image.fails or ("CrashLoopBackOff" if started > cluster.now else None)
    ready = waits is None and started + image.ready_after <= cluster.now
    if ready:
        cluster.mark(uid, "ready")
    else:
        cluster.marks.pop((uid, "ready"), None)
    phase = "Running" if waits in {None, "CrashLoopBackOff"} else "Pending"
    cluster.update(POD, {**pod, "status": _status(cluster, pod, phase, waits=waits, ready=ready)})
    moments = (started, started + image.ready_after, started + image.crashes_after)
    return min((at for at in moments if at > cluster.now), default=NEVER)


def _run_to_the_end(cluster: Cluster, pod: Json, image: Image) -> float:
    """Bring a pod up to date whose container ends, and return when that is."""
    uid = pod["metadata"]["uid"]
    ends = cluster.marks[uid, "started"] + image.runs_for
    code: int | None = image.exit_code if ends <= cluster.now else None
    if image.process and cluster.processes is not None:
        cluster.processes.start(pod, cluster.storage)
        ends, code = NEVER, cluster.processes.ended(pod)
    if code is None:
        cluster.update(POD, {**pod, "status": _status(cluster, pod, "Running", waits=None, ready=True)})
        return ends
    status = _status(cluster, pod, "Failed" if code else "Succeeded", waits=None, ready=False)
    times = {"startedAt": status["startTime"], "finishedAt": cluster.text_now()}
    for container in status["containerStatuses"]:
        reason = "Error" if code else "Completed"
        container["state"] = {"terminated": {"exitCode": code, "reason": reason, **times}}
    cluster.update(POD, {**pod, "status": status})
    return NEVER


def _end(cluster: Cluster, pod: Json) -> float:
    """Stop a pod that was deleted and return when it is gone."""
    metadata, image = pod["metadata"], _image(cluster, pod)
    grace: int = metadata.get("deletionGracePeriodSeconds", 0)
    began = cluster.mark(metadata["uid"], "deleted")
    ends = began + min(image.stops_after, grace)
    if image.process and cluster.processes is not None:
        cluster.processes.stop(pod, kill=began + grace <= cluster.now)
        ends = began if cluster.processes.has_ended(pod) else began + grace
    if ends > cluster.now:
        return ends
    if not metadata.get("finalizers"):
        cluster.storage.delete(cluster.key(POD, pod))
    return NEVER


def _image(cluster: Cluster, pod: Json) -> Image:
    return behaviour(cluster.images, [container["image"] for container in pod["spec"]["containers"]])


def _status(cluster: Cluster, pod: Json, phase: str, *, waits: str | None, ready: bool) -> Json:
    """Return the status of a pod at this moment."""
    unready = {} if ready else {"reason": "PodCompleted" if phase in OVER else "ContainersNotReady"}
    return {
        **pod["status"],
        "phase": phase,
        "containerStatuses": [
            _container_status(cluster, pod, container, waits=waits, ready=ready)
            for container in pod["spec"]["containers"]
        ],
        "conditions": [
            _told(cluster, pod, "PodScheduled", holds=True),
            _told(cluster, pod, "Initialized", holds=True),
            _told(cluster, pod, "ContainersReady", holds=ready, **unready),
            _told(cluster, pod, "Ready", holds=ready, **unready),
        ],
    }


def _told(cluster: Cluster, pod: Json, name: str, *, holds: bool, **more: str) -> Json:
    """Return a condition whose time of transition stays while its status does."""
    before, status = condition(pod, name), str(holds)
    since = before["lastTransitionTime"] if before.get("status") == status else cluster.text_now()
    return {"type": name, "status": status, "lastTransitionTime": since, **more}


def _unscheduled(cluster: Cluster, pod: Json) -> Json:
    message = f"0/1 nodes are available: 1 Too many pods ({cluster.capacity})."
    told = _told(cluster, pod, "PodScheduled", holds=False, reason="Unschedulable", message=message)
    return {"phase": "Pending", "conditions": [told]}


def _container_status(cluster: Cluster, pod: Json, container: Json, *, waits: str | None, ready: bool) -> Json:
    uid = pod["metadata"]["uid"]
    if waits is None:
        wall = cluster.wall() - (cluster.now - cluster.marks[uid, "started"])
        state: Json = {"running": {"startedAt": moment(wall)}}
    else:
        state = {"waiting": {"reason": waits, "message": f'image "{container["image"]}": {waits}'}}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "" if waits else f"fake://{container['image']}",
        "ready": ready,
        "started": waits is None,
        "restartCount": int(cluster.marks.get((uid, "restarts"), 0)),
        "state": state,
        "lastState": {},
    }
