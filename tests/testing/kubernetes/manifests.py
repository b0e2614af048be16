"""Objects that the tests of the fake begin with."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def deployment(name: str = "shop", *, image: str = "shop:1", replicas: int = 3, **spec: Any) -> Json:
    """Return a Deployment with a sidecar, so that a patch can lose it."""
    labels = {"app": name}
    containers = [
        {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 5000}]},
        {"name": "proxy", "image": "proxy:1"},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            **spec,
        },
    }


def service(name: str = "shop", **selector: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector or {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def config_map(name: str = "state", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
