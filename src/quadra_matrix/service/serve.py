"""The supervisor of ``quadra serve``: starts the HTTP server, the hub and the runner, and keeps and stops them."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AddressInUse, AlreadyServing
from quadra_matrix.service.processes import ending, exclusive, has_ended, send, start
from quadra_matrix.service.restart import Death, death
from quadra_matrix.service.settings import Settings
from quadra_matrix.service.sockets import HTTP_SOCKET, HUB_SOCKET, front_environment, socket_accepts, sockets_folder

log = logging.getLogger(__name__)

APP = "quadra_matrix.service.app:create_app"
"""What the HTTP server serves: module:factory."""

TICK = 0.1
"""Seconds between two looks at the parts."""

SEEN_NOT_READY = 1.0
"""Seconds that the HTTP server still answers, not ready, before it stops: a load balancer looks elsewhere meanwhile."""

FRONT = "front"
"""What does the TLS; there is none without."""

OTHER_MAY_TAKE = 3.0
"""Seconds that the processes of a service which was killed may take to be gone."""


@dataclass(slots=True)
class Part:
    """One process of the service, and how often it died. The one mutable value here; the supervisor's own."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    death: Death | None = None


class Supervisor:
    """Keeps the parts of the service running. For the main thread: a part dies with the thread that started it."""

    def __init__(self, parts: Sequence[Part], settings: Settings, *, lock: int, clock: Clock = SYSTEM_CLOCK) -> None:
        """Every part inherits ``lock``: whoever gets it next knows that they are all gone."""
        self._parts, self._settings, self._lock, self._clock = parts, settings, lock, clock

    def step(self) -> None:
        """Start what does not run and is due."""
        for part in self._parts:
            if part.process is not None and has_ended(part.process):
                now = self._clock.monotonic()
                part.death = death(part.death, started=part.started, now=now)
                log.error(
                    "the %s ended with %s; starting it again in %.1f s",
                    part.name, ending(part.process.returncode), part.death.restart_at - now,
                )  # fmt: skip
                part.process = None
            if part.process is None and (part.death is None or self._clock.monotonic() >= part.death.restart_at):
                part.started = self._clock.monotonic()
                part.process = start(
                    part.module, *part.arguments,
                    settings=self._settings, environment=part.environment, keep=[self._lock],
                )  # fmt: skip

    def stop(self, hurry: threading.Event) -> None:
        """Stop every part in order, within the grace period; what has not ended by then is killed.

        Not ready at once, runner first, servers once load balancers had a moment; they finish what is in flight.
        """
        begun = self._clock.monotonic()
        self._settings.stopping_file.touch()
        self._signal({"runner"})
        notice = min(SEEN_NOT_READY, self._settings.grace_seconds / 4)
        self._wait(lambda: False, until=begun + notice, hurry=hurry)
        self._signal({"http server", "hub", FRONT})
        self._wait(lambda: not self._left(), until=begun + self._settings.grace_seconds - 1, hurry=hurry)
        for part, process in self._left():
            log.warning("the %s did not stop in time; it is killed", part.name)
            send(process, signal.SIGKILL)
            process.wait()

    def _signal(self, names: set[str]) -> None:
        """Ask the named parts to stop: only the process itself, which stops its own children in order."""
        for part, process in self._left():
            if part.name in names:
                process.terminate()

    def _left(self) -> list[tuple[Part, subprocess.Popen[bytes]]]:
        """Return the parts that run."""
        return [(part, part.process) for part in self._parts if part.process and not has_ended(part.process)]

    def _wait(self, enough: Callable[[], bool], *, until: float, hurry: threading.Event) -> None:
        while not enough() and self._clock.monotonic() < until and not hurry.is_set():
            self._clock.sleep(0.05)


def serve(
    settings: Settings,
    *,
    app: str = APP,
    kinds: Mapping[str, str] | None = None,
    ready: Callable[[], None] = lambda: None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Run the service until SIGTERM or SIGINT; a second signal stops waiting for what is in flight.

    ``ready`` is called once, when every port accepts connections. Call it in the main thread. Raises ``AlreadyServing``
    when a service uses the data folder, ``AddressInUse`` when something listens on a port.
    """
    stop, hurry = threading.Event(), threading.Event()
    with (
        _signals(stop, hurry),
        exclusive(settings.run_dir / "serve.lock", within=OTHER_MAY_TAKE) as lock,
        sockets_folder() if settings.tls else contextlib.nullcontext() as sockets,
    ):
        if lock is None:
            raise AlreadyServing(settings.data_dir)
        ports = settings.ports
        for port in ports:
            require_free(settings.host, port)
        settings.stopping_file.unlink(missing_ok=True)
        supervisor = Supervisor(_parts(app, kinds or {}, sockets), settings, lock=lock, clock=clock)
        told = False
        try:
            while not stop.wait(TICK):
                supervisor.step()
                if not told and _all_accept(settings, sockets):
                    told = True
                    ready()
        finally:
            supervisor.stop(hurry)
            settings.stopping_file.unlink(missing_ok=True)


def _parts(app: str, kinds: Mapping[str, str], sockets: Path | None) -> list[Part]:
    """Return the processes of the service; each is started with its arguments. With ``sockets`` there is a front."""
    servers = "quadra_matrix.service.servers"
    behind = () if sockets is None else (str(sockets),)
    parts = [
        Part("http server", servers, ("http", app, *behind)),
        Part("hub", servers, ("hub", *behind)),
        Part("runner", "quadra_matrix.service.jobs", [f"{kind}={work}" for kind, work in kinds.items()]),
    ]
    if sockets is not None:
        parts.append(Part(FRONT, servers, ("front", *behind), front_environment(sockets)))
    return parts


def _all_accept(settings: Settings, sockets: Path | None) -> bool:
    """Tell whether clients can connect, and reach the servers behind the front."""
    behind = () if sockets is None else (sockets / HTTP_SOCKET, sockets / HUB_SOCKET)
    return all(map(socket_accepts, behind)) and all(accepts(settings.host, port) for port in settings.ports)


@contextlib.contextmanager
def _signals(stop: threading.Event, hurry: threading.Event) -> Iterator[None]:
    """Set ``stop`` at the first signal to stop and ``hurry`` at the next."""

    def heard(number: int, frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def require_free(host: str, port: int) -> None:
    """Raise ``AddressInUse`` when something listens on the port.

    granian's workers share their port by SO_REUSEPORT, so a second service would start happily and take every other
    connection of the first one; a plain bind does not share.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended do not count
        try:
            probe.bind(address)
        except OSError as taken:
            raise AddressInUse(host, port, taken.strerror or "refused") from taken


def accepts(host: str, port: int) -> bool:
    """Tell whether something accepts connections there; an address for all interfaces is asked on this machine."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  asked, not bound
    with contextlib.suppress(OSError), socket.create_connection((asked, port), timeout=1):
        return True
    return False
