"""A front: it does the TLS, and hands each connection to a server of ours behind a Unix socket.

One client's connection is one connection behind: what comes back is copied as it is. Requests are framed strictly and
get the one field of ``passing``; they are mere bytes only after the server behind has agreed to a WebSocket. A new
certificate is for new connections; those that are open never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from quadra_matrix.errors import NotPassedOn
from quadra_matrix.tls.headers import SecurityHeaders
from quadra_matrix.tls.heads import CHUNKED, MOST_FIELDS, Head, read_chunk_size, read_head
from quadra_matrix.tls.passing import OF_CLIENTS, Connection
from quadra_matrix.tls.serving import ServingContext

LONGEST_HEAD = 32 * 1024
"""Bytes of a request's head."""

PART = 64 * 1024
"""Bytes that are copied at once."""

FIRST_HEAD_WITHIN = 30.0
"""Seconds until a connection's first request is there. Later ones are timed by the server behind."""

BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Door:
    """Where clients come in, and the Unix socket of the server that answers them."""

    host: str
    port: int
    behind: Path
    is_https: bool = True
    tunnels: bool = False
    """Tell whether the server behind speaks WebSockets."""


class Front:
    """Serve ``doors`` until ``close``. Lives in one event loop."""

    def __init__(
        self,
        doors: Sequence[Door],
        context: ServingContext,
        headers: SecurityHeaders,
        *,
        handshake_timeout: float = 10.0,
    ) -> None:
        """``headers`` are for answers that the front gives itself; ``handshake_timeout`` is in seconds."""
        self._doors, self._context, self._headers = doors, context, headers
        self._handshake_timeout = handshake_timeout
        self._servers: list[asyncio.Server] = []
        self._early: set[asyncio.Task[None]] = set()
        """Connections that have asked for nothing yet."""
        self._open: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to accept."""
        for door in self._doors:
            self._servers.append(
                await asyncio.start_server(
                    partial(self._arrived, door),
                    door.host, door.port, limit=LONGEST_HEAD, backlog=BACKLOG,
                )
            )  # fmt: skip

    async def close(self) -> None:
        """Accept nothing more, and return when the servers behind have ended every connection."""
        for server in self._servers:
            server.close()
        for task in self._early:
            task.cancel()
        while self._open:
            await asyncio.wait(self._open)

    def _arrived(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if door.is_https and isinstance(writer.transport, asyncio.Transport):
            writer.transport.pause_reading()  # the first bytes are for the handshake, not for the reader
        task = asyncio.create_task(self._live(door, reader, writer))
        self._open.add(task)
        self._early.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(self._early.discard)

    async def _live(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its arrival to its end."""
        try:
            if not door.is_https or await self._is_secured(writer):
                await self._pass_requests(door, reader, writer)
        except (OSError, asyncio.IncompleteReadError):  # a side is gone, or took too long for its first request
            pass
        except asyncio.CancelledError:  # the front closes, and this connection had not begun
            pass
        except NotPassedOn as refused:
            writer.write(self._refusal(refused.status, refused.reason, is_https=door.is_https))
        except asyncio.LimitOverrunError:
            reason = f"the head of a request may have {LONGEST_HEAD} bytes"
            writer.write(self._refusal(431, reason, is_https=door.is_https))
        finally:
            writer.close()

    async def _is_secured(self, writer: asyncio.StreamWriter) -> bool:
        """Do the handshake in its time; announce a failure."""
        address, port = _peer(writer)
        try:
            async with asyncio.timeout(self._handshake_timeout):
                await writer.start_tls(self._context)
        except OSError as failed:  # ssl.SSLError and TimeoutError are of this type
            self._context.report(f"{address}:{port}", failed)
            return False
        return True

    async def _pass_requests(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on requests one by one, and all that comes back."""
        async with asyncio.timeout(FIRST_HEAD_WITHIN):
            text = await reader.readuntil(b"\r\n\r\n")
        head = read_head(text)
        try:
            answers, behind = await asyncio.open_unix_connection(door.behind)
        except OSError:
            raise NotPassedOn(503, "the service is starting; try again in a moment") from None
        self._begun()
        told = _connection(writer, is_https=door.is_https).field()
        try:
            if door.tunnels and head.asks_to_upgrade:
                agreed = await _agrees(head, told, answers, behind, writer)
                asked = _copy(reader, behind) if agreed else _drop(reader)
            else:
                asked = _copy_requests(head, reader, behind, told, may_upgrade=not door.tunnels)
            await _until_either_ends(asyncio.create_task(asked), asyncio.create_task(_copy(answers, writer)))
        finally:
            # A request that was cut short must not look complete: no orderly end.
            behind.transport.abort()

    def _begun(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._early.discard(task)

    def _refusal(self, status: int, reason: str, *, is_https: bool) -> bytes:
        """Return the front's own answer, after which the connection ends."""
        title = HTTPStatus(status).phrase
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": reason}).encode()
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", "1"))
        held = [*headers, *self._headers.plain(is_https=is_https)]
        lines = "".join(f"{name}: {value}\r\n" for name, value in held)
        return f"HTTP/1.1 {status} {title}\r\n{lines}\r\n".encode("latin-1") + body


async def _until_either_ends(asked: asyncio.Task[None], answered: asyncio.Task[None]) -> None:
    """Wait until one side is done, end the other, and raise what went wrong with the first."""
    try:
        await asyncio.wait({asked, answered}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            asked.result()
        else:
            answered.result()
    finally:
        for task in (asked, answered):
            task.cancel()
        await asyncio.gather(asked, answered, return_exceptions=True)


async def _agrees(
    head: Head,
    told: bytes,
    answers: asyncio.StreamReader,
    behind: asyncio.StreamWriter,
    client: asyncio.StreamWriter,
) -> bool:
    """Pass a request for a WebSocket on, and the head of its answer back; tell whether the WebSocket is open.

    Where it is not, what the client says next would be read as a request, with whatever it claims to be.
    """
    if head.length:
        raise NotPassedOn(400, "a request for a WebSocket has no body")
    behind.write(_told(head, told))
    answer = await answers.readuntil(b"\r\n\r\n")
    client.write(answer)
    return answer.startswith(b"HTTP/1.1 101 ")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while part := await source.read(PART):
        target.write(part)
        await target.drain()


async def _drop(source: asyncio.StreamReader) -> None:
    while await source.read(PART):
        continue


async def _copy_requests(
    head: Head, source: asyncio.StreamReader, target: asyncio.StreamWriter, told: bytes, *, may_upgrade: bool
) -> None:
    """Pass on the request that begins with ``head``, and those after it, until the client leaves.

    Where the server behind speaks WebSockets, an upgrade must be a connection's first request: nobody looks at the
    answers here.
    """
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            target.write(_told(head, told))
            if head.length == CHUNKED:
                await _copy_chunks(source, target)
            elif head.length:
                await _copy_exactly(head.length, source, target)
            await target.drain()
            head = read_head(await source.readuntil(b"\r\n\r\n"))
            if not may_upgrade and head.asks_to_upgrade:
                raise NotPassedOn(400, "a WebSocket needs a connection of its own")


def _told(head: Head, told: bytes) -> bytes:
    """Return the head with what the front tells, and without what the client says in its place."""
    return b"%b%b%b\r\n" % (head.start, OF_CLIENTS.sub(b"", head.fields), told)


async def _copy_exactly(length: int, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while length:
        part = await source.read(min(length, PART))
        if not part:
            raise asyncio.IncompleteReadError(b"", length)
        target.write(part)
        await target.drain()
        length -= len(part)


async def _copy_chunks(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on a body in chunks, without what else a chunk may carry and without trailers."""
    while size := read_chunk_size(await source.readuntil(b"\r\n")):
        target.write(b"%x\r\n" % size)
        await _copy_exactly(size, source, target)
        if await source.readexactly(2) != b"\r\n":
            raise NotPassedOn(400, "a chunk is longer than it says")
        target.write(b"\r\n")
    for _ in range(MOST_FIELDS):
        if await source.readuntil(b"\r\n") == b"\r\n":
            target.write(b"0\r\n\r\n")
            return
    raise NotPassedOn(431, f"a request may have {MOST_FIELDS} trailer fields")


def _connection(writer: asyncio.StreamWriter, *, is_https: bool) -> Connection:
    address, port = _peer(writer)
    secured: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    certificate = secured.getpeercert(binary_form=True) if secured is not None else None
    return Connection(address, port, is_https, certificate)


def _peer(writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Return the client's address and port; nothing and 0 if it left already."""
    peer = writer.get_extra_info("peername")
    return (str(peer[0]), int(peer[1])) if peer else ("", 0)
