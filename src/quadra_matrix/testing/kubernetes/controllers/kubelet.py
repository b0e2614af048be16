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
        pods = [pod for pod in cluster.storage.list(POD) if dig(pod, "status", "phase") not in OVER]
        placed = sum(bool(dig(pod, "spec", "nodeName")) for pod in pods)
        due = NEVER
        for pod in sorted(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"])):
            if not dig(pod, "spec", "nodeName"):
                if cluster.capacity is not None and placed >= cluster.capacity:
                    cluster.update(POD, {**pod, "status": _unscheduled(cluster, pod)})
                    continue
                placed += 1
                pod = self._placed(cluster, pod)
            due = min(due, self._run(cluster, pod))
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

    def _run(self, cluster: Cluster, pod: Json) -> float:
        """Bring one pod up to date and return when it changes next."""
        uid = pod["metadata"]["uid"]
        image = behaviour(cluster.images, [container["image"] for container in pod["spec"]["containers"]])
        if is_terminating(pod):
            grace: int = pod["metadata"].get("deletionGracePeriodSeconds", 0)
            ends = cluster.mark(uid, "deleted") + min(image.stops_after, grace)
            if ends > cluster.now:
                return ends
            if not pod["metadata"].get("finalizers"):
                cluster.storage.delete(cluster.key(POD, pod))
            return NEVER
        started = cluster.mark(uid, "started")
        if started + image.crashes_after <= cluster.now:
            restarts = int(cluster.marks.get((uid, "restarts"), 0)) + 1
            cluster.marks[uid, "restarts"] = restarts
            started = cluster.marks[uid, "started"] = started + image.crashes_after + BACK_OFF
        cluster.update(POD, {**pod, "status": self._status(cluster, pod, image)})
        moments = (started, started + image.ready_after, started + image.crashes_after)
        return min((at for at in moments if at > cluster.now), default=NEVER)

    def _status(self, cluster: Cluster, pod: Json, image: Image) -> Json:
        """Return the status of a pod at this moment."""
        uid = pod["metadata"]["uid"]
        started = cluster.marks[uid, "started"]
        waits = image.fails or ("CrashLoopBackOff" if started > cluster.now else None)
        ready = waits is None and started + image.ready_after <= cluster.now
        if ready:
            cluster.mark(uid, "ready")
        else:
            cluster.marks.pop((uid, "ready"), None)
        pulled = waits is None or waits == "CrashLoopBackOff"
        unready = {} if ready else {"reason": "ContainersNotReady"}
        return {
            **pod["status"],
            "phase": "Running" if pulled else "Pending",
            "containerStatuses": [
                _container_status(cluster, pod, container, waits=waits, ready=ready)
                for container in pod["spec"]["containers"]
            ],
            "conditions": [
                told(cluster, pod, "PodScheduled", True),
                told(cluster, pod, "Initialized", True),
                told(cluster, pod, "ContainersReady", ready, **unready),
                told(cluster, pod, "Ready", ready, **unready),
            ],
        }


def told(cluster: Cluster, pod: Json, name: str, holds: bool, **more: str) -> Json:
    """Return a condition whose time of transition stays while its status does."""
    before, status = condition(pod, name), str(holds)
    since = before["lastTransitionTime"] if before.get("status") == status else cluster.text_now()
    return {"type": name, "status": status, "lastTransitionTime": since, **more}


def _unscheduled(cluster: Cluster, pod: Json) -> Json:
    message = f"0/1 nodes are available: 1 Too many pods ({cluster.capacity})."
    return {
        "phase": "Pending",
        "conditions": [told(cluster, pod, "PodScheduled", False, reason="Unschedulable", message=message)],
    }


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
