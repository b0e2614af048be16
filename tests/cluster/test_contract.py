"""What deliveries and jobs rely on, of the fake and of a real API server alike: so the fake is held to the truth."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.conftest import IMAGE, Json, Place, wait_for

APPS = "apps/v1"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def deployment(image: str = f"{IMAGE}:1", replicas: int = 2, **spec: Any) -> Json:
    labels = {"app": "shop"}
    probe = {"httpGet": {"path": "/health/ready", "port": 5000}, "periodSeconds": 1}
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 5000, "protocol": "TCP"}],
        "readinessProbe": probe,
    }
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            **spec,
        },
    }


def service() -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    spec = {"selector": {"app": "shop", "track": "blue"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": spec}


def config_map(**data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "state"}, "data": data}


def is_complete(place: Place, replicas: int) -> bool:
    """Tell whether the newest generation runs, and nothing else."""
    found = place.get(APPS, "deployments/shop")
    status = found["status"]
    names = ("replicas", "updatedReplicas", "availableReplicas")
    same = status.get("observedGeneration") == found["metadata"]["generation"]
    return same and [status.get(name, 0) for name in names] == [replicas] * 3


def test_a_switch_of_a_selector_compares_and_swaps(place: Place) -> None:
    place.create(service())
    path = place.at("v1", "services/shop")
    to_green = [
        {"op": "test", "path": "/spec/selector/track", "value": "blue"},
        {"op": "replace", "path": "/spec/selector/track", "value": "green"},
    ]

    first, second = (place.call("PATCH", path, to_green, JSON_PATCH) for _ in range(2))

    assert (first.code, second.code) == (200, 422)
    assert second.body["reason"] == "Invalid"
    assert place.get("v1", "services/shop")["spec"]["selector"]["track"] == "green"


def test_a_record_is_swapped_by_its_version(place: Place) -> None:
    first = place.create(config_map(a="1"))
    path = place.at("v1", "configmaps/state")

    swapped = place.call("PUT", path, {**first, "data": {"a": "2"}})
    stale = place.call("PUT", path, {**first, "data": {"a": "3"}})
    again = place.call("POST", place.at("v1", "configmaps"), config_map())

    assert swapped.code == 200
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")


def test_a_lease_is_taken_once(place: Place) -> None:
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rollout"}, "spec": spec}
    made = place.create(lease)
    path = place.at("coordination.k8s.io/v1", "leases/rollout")

    codes = [
        place.call("PUT", path, {**made, "spec": {**spec, "holderIdentity": holder}}).code
        for holder in ("two", "three")
    ]

    assert codes == [200, 409]


def test_a_strategic_patch_keeps_the_sidecar(place: Place) -> None:
    wanted = deployment(replicas=0)
    wanted["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": f"{IMAGE}:1"})
    place.create(wanted)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": f"{IMAGE}:2"}]}}}}

    changed = place.call("PATCH", place.at(APPS, "deployments/shop"), patch, STRATEGIC_PATCH)

    containers = changed.body["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in containers} == {"web": f"{IMAGE}:2", "proxy": f"{IMAGE}:1"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"replicas": "many"}, 400),
        ({"replicas": -1}, 422),
        ({"selector": {"matchLabels": {"app": "other"}}}, 422),
        ({"template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": []}}}, 422),
        ({"unheard": 1}, 400),
    ],
    ids=["type", "negative", "selector", "no-container", "unknown-field"],
)
def test_a_wrong_deployment_is_refused(place: Place, changes: Json, code: int) -> None:
    wrong = deployment()
    wrong["spec"] |= changes

    refused = place.call("POST", place.at(APPS, "deployments?fieldValidation=Strict"), wrong)

    assert refused.code == code, refused.body


def test_a_dry_run_writes_nothing(place: Place) -> None:
    made = place.call("POST", place.at(APPS, "deployments?dryRun=All"), deployment())

    assert made.code == 201
    assert place.get(APPS, "deployments")["items"] == []


def test_apply_names_the_field_that_somebody_else_holds(place: Place) -> None:
    path = place.at(APPS, "deployments/shop")
    place.call("PATCH", f"{path}?fieldManager=one", deployment(replicas=0), APPLY_PATCH)
    place.call("PATCH", f"{path}?fieldManager=hand", {"spec": {"paused": True, "replicas": 1}}, MERGE_PATCH)

    refused = place.call("PATCH", f"{path}?fieldManager=one", deployment(replicas=0), APPLY_PATCH)
    forced = place.call("PATCH", f"{path}?fieldManager=one&force=true", deployment(replicas=0), APPLY_PATCH)

    assert refused.code == 409
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == [".spec.replicas"]
    assert (forced.code, forced.body["spec"]["replicas"], forced.body["spec"]["paused"]) == (200, 0, True)


def test_a_watch_goes_on_where_the_list_ended(place: Place) -> None:
    version = place.get("v1", "configmaps")["metadata"]["resourceVersion"]
    place.create(config_map(a="1"))
    path = place.at("v1", f"configmaps?watch=1&resourceVersion={version}&fieldSelector=metadata.name=state")

    with place.http.stream("GET", path) as answer:
        event = json.loads(next(answer.iter_lines()))

    assert (event["type"], event["object"]["data"]) == ("ADDED", {"a": "1"})


def test_a_stranger_may_do_nothing(place: Place) -> None:
    stranger = {"Impersonate-User": f"system:serviceaccount:{place.namespace}:nobody"}

    refused = place.call("GET", place.at("v1", "pods"), **stranger)

    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert 'cannot list resource "pods"' in refused.body["message"]


@pytest.mark.slow
def test_a_rolling_change_is_counted_to_its_end(place: Place) -> None:
    place.create(deployment())
    wait_for(lambda: is_complete(place, 2), "the first version")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": f"{IMAGE}:2"}]}}}}

    place.call("PATCH", place.at(APPS, "deployments/shop"), patch, STRATEGIC_PATCH)
    wait_for(lambda: is_complete(place, 2), "the second version")

    live = [pod for pod in place.pods() if "deletionTimestamp" not in pod["metadata"]]
    assert {pod["spec"]["containers"][0]["image"] for pod in live} == {f"{IMAGE}:2"}
    scaled = place.call("PATCH", place.at(APPS, "deployments/shop/scale"), {"spec": {"replicas": 1}}, MERGE_PATCH)
    assert (scaled.body["kind"], scaled.body["spec"]["replicas"]) == ("Scale", 1)
    wait_for(lambda: is_complete(place, 1), "one pod less")


@pytest.mark.slow
def test_a_missing_image_passes_the_deadline(place: Place) -> None:
    place.create(deployment(f"{IMAGE}:missing", replicas=1, progressDeadlineSeconds=3))

    def progressing() -> str:
        conditions = place.get(APPS, "deployments/shop")["status"].get("conditions", [])
        return next((each["reason"] for each in conditions if each["type"] == "Progressing"), "")

    wait_for(lambda: progressing() == "ProgressDeadlineExceeded", "the deadline to pass")

    (status,) = place.pods()[0]["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] in {"ErrImagePull", "ImagePullBackOff"}


@pytest.mark.slow
def test_pods_answer_through_the_proxy_and_budgets_protect_them(place: Place) -> None:
    selector = {"matchLabels": {"app": "shop"}}
    budget = {"minAvailable": 1, "selector": selector}
    place.create(deployment(replicas=1))
    place.create(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"}, "spec": budget}
    )
    wait_for(lambda: is_complete(place, 1), "the pod")
    (name,) = (pod["metadata"]["name"] for pod in place.pods())

    def allowed() -> bool:
        status = place.get("policy/v1", "poddisruptionbudgets/shop").get("status", {})
        return status.get("currentHealthy") == 1

    wait_for(allowed, "the budget to count")
    ready = place.call("GET", place.at("v1", f"pods/{name}:5000/proxy/health/ready"))
    metrics = place.call("GET", place.at("v1", f"pods/{name}:5000/proxy/metrics"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    refused = place.call("POST", place.at("v1", f"pods/{name}/eviction"), eviction)

    assert (ready.code, ready.body) == (200, "ok\n")
    assert "quadra_http_requests_total" in metrics.body
    assert (refused.code, refused.body["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")


@pytest.mark.slow
def test_a_job_runs_and_tells(place: Place) -> None:
    container = {
        "name": "work",
        "image": f"{IMAGE}:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "print('hello')"],
    }
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"backoffLimit": 0, "template": template}
    place.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}, "spec": spec})

    def ended() -> list[str]:
        conditions = place.get("batch/v1", "jobs/train").get("status", {}).get("conditions", [])
        return [each["type"] for each in conditions if each["status"] == "True"]

    wait_for(lambda: "Complete" in ended(), "the job to end")

    (pod,) = place.get("v1", "pods?labelSelector=job-name=train")["items"]
    assert place.call("GET", place.at("v1", f"pods/{pod['metadata']['name']}/log")).body == "hello\n"
