"""One machine: versions as processes on loopback ports behind one proxy, kept alive by whoever watches.

What should run is one file, ``fleet.json``; every process that holds its lock may start what is missing. So the
supervisor may die: the versions and the proxy go on, and the next supervisor takes them over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.counters import Reading
from quadra_matrix.delivery.envoy import clusters, find_envoy, routes
from quadra_matrix.delivery.fleet import Command, Deployed, Fleet, Instance, admin_socket
from quadra_matrix.delivery.model import Readiness, Route, Routed
from quadra_matrix.delivery.moves import only
from quadra_matrix.delivery.plan import valid_version
from quadra_matrix.delivery.processes import Processes, free_port, is_free
from quadra_matrix.delivery.proxy import Proxy
from quadra_matrix.errors import (
    EvidenceMissing,
    RolloutRefused,
    StartRefused,
    StateUnreadable,
    StateUnwritable,
    TrafficChanged,
    TrafficUnknown,
)
from quadra_matrix.files import replace_file
from quadra_matrix.pids import Process

log = logging.getLogger(__name__)

HASTE = 0.2
"""Seconds an instance has to live before it is started again at once; doubled each time it does not, up to ten."""
ROOM = 2**17
"""Bytes that must be free: what is written about a fleet is far smaller."""
CALM = 60.0
"""Seconds after which an instance that ended is no longer taken for one that cannot live."""


@cache
def _adapter() -> TypeAdapter[Fleet]:
    return TypeAdapter(Fleet)


class Machine:
    """The fleet of one folder: its file, its processes, its proxy. Several processes may use one folder at once."""

    def __init__(self, folder: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self.folder = self._folder = folder.absolute()
        self._clock = clock
        self._file = self._folder / "fleet.json"
        self.processes = Processes(clock)
        self.proxy = Proxy(self._folder, admin_socket(self._folder), clock)

    def read(self) -> Fleet:
        """Return what should run. Raises ``TrafficUnknown`` where nothing was set up."""
        try:
            return _adapter().validate_json(self._file.read_bytes())
        except FileNotFoundError as missing:
            raise TrafficUnknown("this machine", "nothing runs here; start with: quadra local up") from missing
        except (ValidationError, OSError) as broken:
            raise StateUnreadable(str(self._file), "it does not say what should run") from broken

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the machine's lock; the kernel frees it when the process ends, however it ends."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._folder / "fleet.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failed:
            raise StateUnwritable(str(self._folder), failed.strerror or str(failed)) from failed
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def up(self, fleet: Fleet, version: str, command: Command) -> None:
        """Set the machine up with one version that gets everything, or take over what already runs."""
        valid_version(version)
        find_envoy(fleet.program)
        with self.locked():
            if self._file.exists():
                return
            if not is_free(fleet.port):
                raise RolloutRefused(f"port {fleet.port} is taken; choose another one with --port")
            started = self._started(replace(fleet, commands={version: command}), version)
            self.proxy.prepare(fleet.port)
            self.proxy.write_first(
                clusters(started.clusters, started.hub), routes(only(version), started.clusters, started.hub)
            )
            self._write(self._with_proxy(started))

    def down(self) -> None:
        """Stop everything that runs here and forget it."""
        with self.locked():
            if not self._file.exists():
                return
            fleet = self.read()
            if fleet.proxy is not None:
                self.processes.stop(fleet.proxy)
            instances = (instance.process for one in fleet.deployed.values() for instance in one.instances)
            for process in (*instances, *fleet.leaving):
                self.processes.stop(process)
            self._file.unlink()
            shutil.rmtree(admin_socket(self._folder).parent, ignore_errors=True)

    def knows(self, version: str) -> bool:
        """Tell whether it is known how a version is started."""
        return version in self.read().commands

    def declare(self, version: str, command: Command | None) -> None:
        """Say how a version is started; without a command like the last one that was declared."""
        valid_version(version)
        with self.locked():
            fleet = self.read()
            if command is None and not fleet.commands:
                raise RolloutRefused("no command is known; give one: quadra canary deploy VERSION -- COMMAND")
            latest = command or next(reversed(fleet.commands.values()))
            commands = {name: one for name, one in fleet.commands.items() if name != version}
            self._write(replace(fleet, commands={**commands, version: latest}))

    def is_set_up(self) -> bool:
        """Tell whether something should run here."""
        return self._file.exists()

    def supervise(self, supervisor: Process | None) -> None:
        """Write down who watches."""
        with self.locked():
            self._write(replace(self.read(), supervisor=supervisor))

    def tend(self) -> None:
        """Start again what ended: instances after a growing pause, the proxy at once."""
        with self.locked():
            if not self._file.exists():
                return
            fleet = self.read()
            tended = self._with_proxy(fleet)
            for version in fleet.deployed:
                tended = self._revived(tended, version)
            if tended != fleet:
                self._publish(fleet, tended)

    def start(self, version: str) -> None:
        """Start a version, or what is missing of it."""
        with self.locked():
            fleet = self.read()
            if version in fleet.deployed:
                after = self._revived(fleet, version)
            elif version in fleet.commands:
                after = self._started(fleet, version)
            else:
                raise StartRefused(version, "no command is known; give one: quadra canary deploy VERSION -- COMMAND")
            if after != fleet:
                self._publish(fleet, after)

    def stop(self, version: str) -> None:
        """Take a version out of the proxy and stop its processes. Raises ``RolloutRefused`` while it gets traffic."""
        with self.locked():
            fleet = self.read()
            if version in fleet.deployed:
                fleet = self._taken_out(fleet, version)
        for process in fleet.leaving:  # without the lock: a rollback must not wait for a slow goodbye
            self.processes.stop(process)
        with self.locked():
            found = self.read()
            self._write(replace(found, leaving=tuple(one for one in found.leaving if self.processes.lives(one))))

    def _taken_out(self, fleet: Fleet, version: str) -> Fleet:
        """Return the fleet without a version, and tell the proxy: first the route, then the versions."""
        revision, route = self.proxy.route()
        if route.share(version):
            raise RolloutRefused(f"{version} still gets {route.share(version):g} % of the traffic")
        processes = (instance.process for instance in fleet.deployed[version].instances)
        deployed = {name: one for name, one in fleet.deployed.items() if name != version}
        left = replace(fleet, deployed=deployed, leaving=(*fleet.leaving, *processes))
        self.proxy.put_route(routes(route, left.clusters, left.hub), revision + 1)
        self._publish(fleet, left)
        return left

    def _started(self, fleet: Fleet, version: str) -> Fleet:
        """Return the fleet with a version whose instances were just started."""
        deployed = Deployed(version, fleet.numbered + 1, fleet.commands[version])
        instances = tuple(self._spawned(deployed, place, free_port()) for place in range(fleet.instances))
        versions = {**fleet.deployed, version: replace(deployed, instances=instances)}
        return replace(fleet, deployed=versions, numbered=deployed.number)

    def _spawned(self, deployed: Deployed, place: int, port: int) -> Instance:
        """Return an instance that was just started."""
        self._require_room()
        output = self._folder / "logs" / f"{deployed.name}-{place}.log"
        words = deployed.command.for_instance(deployed.version, port, free_port())
        try:
            return Instance(port, self.processes.start(words, log=output, cwd=Path(deployed.command.cwd)))
        except OSError as failed:
            raise StartRefused(deployed.version, f"{words[0]}: {failed.strerror}") from failed

    def _revived(self, fleet: Fleet, version: str) -> Fleet:
        """Return the fleet after starting again what ended of a version."""
        deployed = fleet.deployed[version]
        instances = tuple(
            one if self.processes.lives(one.process) else self._again(deployed, place, one)
            for place, one in enumerate(deployed.instances)
        )
        return replace(fleet, deployed={**fleet.deployed, version: replace(deployed, instances=instances)})

    def _again(self, deployed: Deployed, place: int, ended: Instance) -> Instance:
        """Return an instance started again on its port where that is free, unless its pause is not over."""
        now = self._clock.now()
        if now < ended.next_start:
            return ended
        log.warning("%s ended and is started again; see %s-%d.log", deployed.version, deployed.name, place)
        calm = now - ended.next_start > CALM
        pause = HASTE if calm else min(ended.pause * 2, 10.0)
        fresh = self._spawned(deployed, place, free_port(ended.port))
        return replace(fresh, restarts=ended.restarts + 1, pause=pause, next_start=now + pause)

    def _with_proxy(self, fleet: Fleet) -> Fleet:
        """Return the fleet with a proxy that runs. Its files hold the route, so a new one goes on as the old one."""
        if fleet.proxy is not None and self.processes.lives(fleet.proxy):
            return fleet
        program = find_envoy(fleet.program)
        words = [str(program), "-c", str(self._folder / "envoy.json"), "--concurrency", "1"]
        admin_socket(self._folder).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Hot restart shares memory under a number: two projects on one machine would meet there.
        options = ["--disable-hot-restart", "-l", "warn"]
        self._require_room()
        process = self.processes.start([*words, *options], log=self._folder / "envoy.log", cwd=self._folder)
        return replace(fleet, proxy=process)

    def _require_room(self) -> None:
        """Raise ``StateUnwritable`` before a process starts that nobody could write down, and so nobody would stop."""
        probe = self._folder / "room"
        try:
            replace_file(probe, bytes(ROOM), durable=False)
            probe.unlink()
        except OSError as failed:
            raise StateUnwritable(str(self._folder), failed.strerror or str(failed)) from failed

    def _publish(self, before: Fleet, after: Fleet) -> None:
        """Write the fleet, and tell the proxy what changed about its versions."""
        if after.clusters == before.clusters:
            self._write(after)
            return
        numbered = replace(after, clusters_revision=before.clusters_revision + 1)
        self._write(numbered)
        self.proxy.put_clusters(clusters(numbered.clusters, numbered.hub), numbered.clusters_revision)
        if set(after.deployed) > set(before.deployed):  # a new version can be asked for by header
            revision, route = self.proxy.route()
            self.proxy.put_route(routes(route, numbered.clusters, numbered.hub), revision + 1)

    def _write(self, fleet: Fleet) -> None:
        try:
            replace_file(self._file, _adapter().dump_json(fleet, indent=1))
        except OSError as failed:
            raise StateUnwritable(str(self._file), failed.strerror or str(failed)) from failed


class LocalTraffic:
    """The ``Traffic`` of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def read(self) -> Routed:
        """Return the route that the proxy reports."""
        try:
            revision, route = self._machine.proxy.route()
        except TrafficUnknown:
            self._machine.read()  # says so where nothing was ever set up
            raise
        return Routed(route, str(revision))

    def write(self, route: Route, revision: str) -> Routed:
        """Put a route in force by one atomic file, and return what the proxy then reports."""
        with self._machine.locked():
            found = self.read()
            if found.revision != revision:
                raise TrafficChanged(revision, found.revision)
            fleet = self._machine.read()
            unknown = [version for version, share in route.weights.items() if share and version not in fleet.deployed]
            if unknown:
                raise RolloutRefused(f"{unknown[0]} does not run here")
            known = {version: share for version, share in route.weights.items() if version in fleet.deployed}
            configuration = routes(replace(route, weights=known), fleet.clusters, fleet.hub)
            following = int(revision) + 1
            return Routed(self._machine.proxy.put_route(configuration, following), str(following))

    def open_requests(self, version: str) -> int:
        """Return how many requests a version is answering."""
        deployed = self._machine.read().deployed.get(version)
        return 0 if deployed is None else self._machine.proxy.open_requests(deployed.name)


class LocalWorkload:
    """The ``Workload`` of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def start(self, version: str) -> None:
        """Start a version, or what is missing of it."""
        self._machine.start(version)

    def ready(self, version: str) -> Readiness:
        """Return how many instances the proxy finds healthy."""
        fleet = self._machine.read()
        deployed = fleet.deployed.get(version)
        if deployed is None:
            return Readiness()
        hosts = self._machine.proxy.hosts().get(deployed.name, [])
        healthy = {host.port for host in hosts if host.is_own and host.is_healthy}
        alive = [
            one for one in deployed.instances if one.port in healthy and self._machine.processes.lives(one.process)
        ]
        addresses = tuple(f"http://127.0.0.1:{one.port}" for one in alive)
        restarts = sum(one.restarts for one in deployed.instances)
        return Readiness(len(alive), fleet.instances, restarts, addresses)

    def settle(self, version: str) -> bool:
        """Do nothing: one machine has no stable place that a version must move to."""
        return True

    def stop(self, version: str) -> bool:
        """Stop a version."""
        self._machine.stop(version)
        return True


class LocalEvidence:
    """The ``Evidence`` of one machine: the proxy's own counters."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def read(self, version: str) -> Reading:
        """Return the raw counters. A proxy that was started again counts from zero under another name."""
        fleet = self._machine.read()
        deployed = fleet.deployed.get(version)
        if deployed is None or fleet.proxy is None:
            raise EvidenceMissing(version, "it does not run here")
        try:
            counted = self._machine.proxy.counters(deployed.name)
            hosts = self._machine.proxy.hosts().get(deployed.name, [])
        except TrafficUnknown as gone:
            raise EvidenceMissing(version, str(gone)) from gone
        strays = sum(host.requests for host in hosts if not host.is_own)
        return Reading({f"{deployed.name}/{fleet.proxy.pid}-{fleet.proxy.born}": counted}, strays)
