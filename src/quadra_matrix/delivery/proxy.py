"""The proxy of one machine: told by two files, asked over a socket; every change is confirmed before it counts."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quadra_matrix.clock import Clock
from quadra_matrix.delivery.counters import Counters
from quadra_matrix.delivery.envoy import ALL, bootstrap, parse_route
from quadra_matrix.delivery.model import Route
from quadra_matrix.errors import StateUnwritable, TrafficRefused, TrafficUnknown
from quadra_matrix.files import replace_file

SEEN_WITHIN = 2.0
"""Seconds Envoy may take to report a new file; it needs two milliseconds."""


@dataclass(frozen=True, slots=True)
class Host:
    """One instance in a cluster, as Envoy reports it."""

    port: int
    is_own: bool
    """False for an instance of another version that stands by."""
    is_healthy: bool
    requests: int


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=2.0)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Proxy:
    """What one Envoy is told by files, and what it reports. May be shared between processes, not between threads."""

    def __init__(self, folder: Path, admin: Path, clock: Clock) -> None:
        self._folder, self._admin, self._clock = folder, admin, clock

    def prepare(self, port: int) -> Path:
        """Write the configuration that never changes and return its path."""
        path = self._folder / "envoy.json"
        _write(path, json.dumps(bootstrap(self._folder, self._admin, port), indent=1).encode())
        return path

    def is_live(self) -> bool:
        """Tell whether Envoy runs and takes requests."""
        try:
            return self._get("/ready").startswith(b"LIVE")
        except TrafficUnknown:
            return False

    def put_clusters(self, resources: Sequence[Mapping[str, Any]], revision: int) -> None:
        """Put versions in force; a route must be about them by the time Envoy sees it. Raises like ``put_route``."""
        path = self._folder / "cds" / "cds.json"
        self._put(path, resources, revision, "cluster_manager.cds", lambda: self._clusters_revision() == revision)

    def put_route(self, configuration: Mapping[str, Any], revision: int) -> Route:
        """Put a route in force and return what Envoy then reports.

        Raises ``TrafficRefused`` when Envoy does not want it and ``TrafficUnknown`` when it does not run; in the second
        case the file holds the new route, which is in force as soon as Envoy runs again.
        """
        path = self._folder / "rds" / "rds.json"
        # Envoy ignores an equal configuration, and then reports the old revision for ever.
        marked = {**configuration, "metadata": {"filter_metadata": {"quadra": {"revision": revision}}}}
        reported: list[tuple[int, Route]] = []

        def is_seen() -> bool:
            reported[:] = [self.route()]
            return reported[0][0] == revision

        self._put(path, [marked], revision, "http.main.rds.main", is_seen)
        return reported[0][1]

    def write_first(self, versions: Sequence[Mapping[str, Any]], configuration: Mapping[str, Any]) -> None:
        """Write both files before Envoy starts."""
        _write(self._folder / "cds" / "cds.json", _resources(versions, 1))
        _write(self._folder / "rds" / "rds.json", _resources([configuration], 1))

    def route(self) -> tuple[int, Route]:
        """Return the revision and the route in force, as Envoy reports them."""
        dump = json.loads(self._get("/config_dump?resource=dynamic_route_configs"))
        if not dump.get("configs"):
            raise TrafficUnknown("Envoy", "it has no route yet")
        found = dump["configs"][0]
        return int(found["version_info"]), parse_route(found["route_config"])

    def hosts(self) -> dict[str, list[Host]]:
        """Return the instances of every cluster."""
        report = json.loads(self._get("/clusters?format=json")).get("cluster_statuses", [])
        return {one["name"]: [_host(host) for host in one.get("host_statuses", [])] for one in report}

    def counters(self, cluster: str) -> Counters:
        """Return the raw counters of a cluster."""
        stats = self._stats(cluster, "upstream_rq_(completed|5xx|time)", "&histogram_buckets=cumulative")
        prefix = f"cluster.{cluster}.upstream_rq_"
        plain = {one["name"]: one["value"] for one in stats if "value" in one}
        histograms = [one for group in stats if "histograms" in group for one in group["histograms"]]
        buckets = histograms[0]["buckets"] if histograms else []
        below = {float(one["upper_bound"]): int(one["cumulative"]) for one in buckets}
        timed = below.pop(float(ALL), 0)
        slower = {bound: timed - count for bound, count in below.items()}
        return Counters(
            int(plain.get(prefix + "completed", 0)), int(plain.get(prefix + "5xx", 0)), slower=slower, timed=timed
        )

    def open_requests(self, cluster: str) -> int:
        """Return how many requests a cluster is answering."""
        return sum(int(one["value"]) for one in self._stats(cluster, "upstream_rq_active") if "value" in one)

    def _stats(self, cluster: str, names: str, more: str = "") -> list[dict[str, Any]]:
        """Return some of a cluster's statistics."""
        wanted = rf"^cluster\.{re.escape(cluster)}\.{names}$"
        found = json.loads(self._get(f"/stats?format=json{more}&filter={quote(wanted, safe='')}"))
        stats: list[dict[str, Any]] = found["stats"]
        return stats

    def _clusters_revision(self) -> int:
        text = self._get("/stats?filter=cluster_manager.cds.version_text").decode()
        return int(text.partition('"')[2].partition('"')[0] or 0)

    def _put(
        self,
        path: Path,
        resources: Sequence[Mapping[str, Any]],
        revision: int,
        subscription: str,
        is_seen: Callable[[], bool],
    ) -> None:
        """Write a file and poll until it is in force; one that Envoy rejects leaves the old one in force."""
        rejected = self._rejections(subscription)
        _write(path, _resources(resources, revision))
        deadline = self._clock.monotonic() + SEEN_WITHIN
        while not is_seen():
            if self._rejections(subscription) > rejected or self._clock.monotonic() > deadline:
                raise TrafficRefused("Envoy", f"see the last lines of {self._folder / 'envoy.log'}")
            self._clock.sleep(0.001)

    def _rejections(self, subscription: str) -> int:
        text = self._get(f"/stats?filter=^{quote(subscription)}.update_(rejected|failure)$").decode()
        return sum(int(line.rpartition(" ")[2]) for line in text.splitlines())

    def _get(self, path: str) -> bytes:
        """Return what the admin socket answers. Raises ``TrafficUnknown``."""
        connection = _UnixConnection(self._admin)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as failed:
            raise TrafficUnknown("Envoy", f"{self._admin}: {failed}") from failed
        finally:
            connection.close()


def _write(path: Path, content: bytes) -> None:
    """Put a file in place. Raises ``StateUnwritable``; then Envoy goes on with the old one."""
    try:
        replace_file(path, content, durable=False)  # after a power cut nothing runs anyway
    except OSError as failed:
        raise StateUnwritable(str(path), failed.strerror or str(failed)) from failed


def _resources(resources: Sequence[Mapping[str, Any]], revision: int) -> bytes:
    return json.dumps({"version_info": str(revision), "resources": list(resources)}).encode()


def _host(report: Mapping[str, Any]) -> Host:
    """Return one instance of Envoy's report; a status that says nothing else is healthy."""
    status = dict(report.get("health_status", {}))
    status.pop("eds_health_status", None)
    requests = next((one.get("value", 0) for one in report["stats"] if one["name"] == "rq_total"), 0)
    return Host(
        report["address"]["socket_address"]["port_value"], not report.get("priority"), not status, int(requests)
    )
