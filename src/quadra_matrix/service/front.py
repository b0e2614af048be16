"""The front of the service: it does the TLS for the HTTP server and the hub, in a process of its own."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from pathlib import Path

from quadra_matrix.loopback import is_loopback
from quadra_matrix.service.settings import Settings
from quadra_matrix.service.sockets import HTTP_SOCKET, HUB_SOCKET
from quadra_matrix.telemetry.series import Metrics
from quadra_matrix.tls.certs import generate_self_signed_cert, stand_in
from quadra_matrix.tls.context import ClientFiles, ServerFiles
from quadra_matrix.tls.front import Door, Front
from quadra_matrix.tls.headers import HeaderOptions, SecurityHeaders
from quadra_matrix.tls.serving import ServingContext

LOOKS_EVERY = 0.25
"""Seconds between two looks at the certificate's files, while clients connect."""


def serve_front(settings: Settings, sockets: Path) -> None:
    """Serve HTTPS and wss until a signal stops it."""
    # A connection is two descriptors here, and the usual soft limit of 1024 is for programs that call select.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(settings, sockets))


async def _serve(settings: Settings, sockets: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    doors = [
        Door(settings.host, settings.port, sockets / HTTP_SOCKET),
        Door(settings.host, settings.hub_port, sockets / HUB_SOCKET, tunnels=True),
    ]
    if settings.tls_redirect_port is not None:
        doors.append(Door(settings.host, settings.tls_redirect_port, sockets / HTTP_SOCKET, is_https=False))
    metrics = Metrics(settings.metrics_dir)
    context = ServingContext(_files(settings), check_every=LOOKS_EVERY, hook=metrics.hear)
    front = Front(
        doors,
        context,
        SecurityHeaders(HeaderOptions(hsts_seconds=settings.tls_hsts_seconds)),
        handshake_timeout=settings.tls_handshake_seconds,
    )
    await front.open()
    await stop.wait()
    await front.close()
    metrics.close()


def _files(settings: Settings) -> ServerFiles:
    """Return the pair that the settings name, or one for this machine, and what is asked of clients."""
    clients = None
    if settings.tls_client_ca is not None:
        clients = ClientFiles(settings.tls_client_ca, settings.tls_client_crl, settings.tls_client_required)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return ServerFiles(settings.tls_certificate, settings.tls_key, clients)
    if settings.acme_names:
        return ServerFiles(*stand_in(settings.acme_dir, settings.acme_names[0]), clients)
    name = "localhost" if is_loopback(settings.host) else socket.gethostname()
    return ServerFiles(*generate_self_signed_cert(settings.certs_dir, common_name=name), clients)
