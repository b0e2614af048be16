"""A front, and behind it a server that keeps what it gets and answers what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from quadra_matrix.events import Hook, ignore
from quadra_matrix.tls.context import ServerFiles
from quadra_matrix.tls.front import Door, Front
from quadra_matrix.tls.headers import HeaderOptions, SecurityHeaders
from quadra_matrix.tls.serving import ServingContext
from tests.services.process import free_port

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Running:
    """Ports of the front, and what came through it."""

    https: int
    hub: int
    http: int
    folder: Path
    received: bytearray = field(default_factory=bytearray)
    ends: list[bool] = field(default_factory=list)
    """For each connection that ended behind: whether in order."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer two bytes for each head and each part of a body that arrives."""
        try:
            while part := await reader.read(1000):
                self.received += part
                writer.write(OK)
                await writer.drain()
            self.ends.append(True)
        except ConnectionError:
            self.ends.append(False)
        finally:
            writer.close()


@contextlib.contextmanager
def front(
    files: ServerFiles,
    *,
    answer: Answer | None = None,
    hook: Hook = ignore,
    handshake_timeout: float = 10.0,
) -> Iterator[Running]:
    """Yield a running front; it is closed in order at the end."""
    with TemporaryDirectory(prefix="front-") as folder:
        running = Running(free_port(), free_port(), free_port(), Path(folder))
        started, stop = threading.Event(), threading.Event()

        async def live() -> None:
            behind = await asyncio.start_unix_server(answer or running.answer, running.folder / "behind.sock")
            doors = [
                Door("127.0.0.1", running.https, running.folder / "behind.sock"),
                Door("127.0.0.1", running.hub, running.folder / "behind.sock", tunnels=True),
                Door("127.0.0.1", running.http, running.folder / "behind.sock", is_https=False),
            ]
            context = ServingContext(files, check_every=0, hook=hook)
            headers = SecurityHeaders(HeaderOptions())
            served = Front(doors, context, headers, handshake_timeout=handshake_timeout)
            await served.open()
            started.set()
            await asyncio.to_thread(stop.wait)
            behind.close()
            await served.close()

        thread = threading.Thread(target=asyncio.run, args=(live(),))
        thread.start()
        assert started.wait(30)
        try:
            yield running
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()


def exchange(client: ssl.SSLSocket, request: bytes) -> bytes:
    """Return all that comes back until the connection ends."""
    client.sendall(request)
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while part := client.recv(10_000):
            received += part
    return received
