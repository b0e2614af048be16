"""The servers' processes: ``python -m quadra_matrix.service.servers PARENT (http APP | hub | front) [SOCKETS]``.

``SOCKETS`` is the folder of the Unix sockets where the front hands connections on; without it there is no front.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from quadra_matrix.access.gate import Gate
from quadra_matrix.service.access.door import Door
from quadra_matrix.service.access.wiring import gate_options, keyring_of, tokens_of
from quadra_matrix.service.hub import PATH, Hub, own_origins
from quadra_matrix.service.processes import die_with_parent
from quadra_matrix.service.settings import Settings, load
from quadra_matrix.service.sockets import HTTP_SOCKET, HUB_SOCKET
from quadra_matrix.service.watching import ids_of_requests, log_to_stderr, new_tracing
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.telemetry.otel.current import current_ids
from quadra_matrix.tls.passing import behind_front

THREADS = 2 * (os.cpu_count() or 1) + 1
"""Python threads of one HTTP worker: requests it works on at once; further ones wait in their connections.

More threads than this wait for each other rather than for disk and database.
"""

OURS_ALONE = 0o600
"""Mode of the sockets behind the front: what comes in there is believed."""
NO_HANDLERS = {
    "formatters": {},
    "handlers": {},
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")},
}
"""What granian is told of logging: its records go where all others go."""

KEEP_OUT = 2.0
"""Seconds of the grace period that are the supervisor's: the servers' workers are ended before."""


def serve_http(settings: Settings, app: str, sockets: Path | None) -> None:
    """Serve the WSGI application that ``app`` (module:factory) makes of the settings, until a signal stops it."""
    server = Granian(
        app,
        address=settings.host,
        port=settings.port,
        uds=sockets and sockets / HTTP_SOCKET,
        uds_permissions=OURS_ALONE,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.workers,
        blocking_threads=THREADS,
        respawn_failed_workers=True,
        workers_kill_timeout=_patience(settings),
        log_level=_log_level(settings),
        log_dictconfig=NO_HANDLERS,
    )
    server.serve(target_loader=partial(_worker, os.getpid(), settings, sockets is not None))


def serve_hub(settings: Settings, sockets: Path | None) -> None:
    """Serve the WebSocket hub until a signal stops it."""
    server = Granian(
        "hub",
        address=settings.host,
        port=settings.hub_port,
        uds=sockets and sockets / HUB_SOCKET,
        uds_permissions=OURS_ALONE,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        respawn_failed_workers=True,
        workers_kill_timeout=_patience(settings),
        log_level=_log_level(settings),
        log_dictconfig=NO_HANDLERS,
    )
    server.serve(target_loader=partial(_hub, os.getpid(), settings, sockets is not None))


def _worker(parent: int, settings: Settings, has_front: bool, app: str) -> Callable[..., Any]:
    """Build the application inside a worker."""
    die_with_parent(parent)
    log_to_stderr(settings, ids_of_requests())
    module, name = app.split(":")
    application: Callable[..., Any] = getattr(importlib.import_module(module), name)(settings)
    end: Callable[[], object] | None = getattr(application, "extensions", {}).get("quadra_matrix.end")
    if end is not None:
        _at_the_end(end)
    return behind_front(application) if has_front else application


def _hub(parent: int, settings: Settings, has_front: bool, name: str) -> Hub:
    """Build the hub inside its worker."""
    die_with_parent(parent)
    log_to_stderr(settings, current_ids)
    database = Database(settings.database_url)
    jobs, origins = SqlJobs(database), own_origins(settings)
    gate = Gate(keyring_of(settings, database), tokens_of(settings), gate_options(settings))
    tracing = new_tracing(settings)
    _at_the_end(tracing.close)
    return Hub(
        jobs,
        origins=origins,
        admit=Door(gate, origins, has_front=has_front).admit,
        is_closing=settings.stopping_file.exists,
        within=lambda headers: tracing.continue_trace(headers, f"WEBSOCKET {PATH}"),
    )


def _at_the_end(end: Callable[[], object]) -> None:
    """Call ``end`` when this worker ends: granian forks, and what ``atexit`` knows is not run in a forked process."""
    Finalize(None, end, exitpriority=0)


def _patience(settings: Settings) -> int:
    """Return the whole seconds that requests in flight have; granian counts no fractions."""
    return max(1, math.floor(settings.grace_seconds - KEEP_OUT))


def _log_level(settings: Settings) -> LogLevels:
    """Return granian's name of the log level; what it says at INFO, a start and a stop, is our DEBUG."""
    level = LogLevels(str(settings.log_level).lower())
    return LogLevels.warning if level is LogLevels.info else level


def main(arguments: Sequence[str]) -> int:
    """Be one of the servers until a signal says stop."""
    parent, server, *rest = arguments
    die_with_parent(int(parent))
    settings = load()
    log_to_stderr(settings)
    if server == "http":
        app, *sockets = rest
        serve_http(settings, app, Path(sockets[0]) if sockets else None)
    elif server == "hub":
        serve_hub(settings, Path(rest[0]) if rest else None)
    else:
        from quadra_matrix.service.front import serve_front  # cryptography is needed only where there is TLS

        serve_front(settings, Path(rest[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
