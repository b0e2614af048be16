"""Pass connections on, disturbed: each chunk is stamped when it arrives, so that two writes are not held back twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections import Counter
from http.client import responses

from quadra_matrix.chaos.proxy.disturbance import CLEAR, Answer, Disturbance, Down, Fate, Fates
from quadra_matrix.chaos.proxy.http1 import Piece, Requests

log = logging.getLogger(__name__)

CHUNK = 65536
"""Bytes read at once."""
WAITING = 64
"""Chunks of one direction that wait to be due; more is left to the sender's patience, as TCP does."""
SLICE = 0.02
"""Seconds that the bytes written at once may take where there is a bandwidth."""
LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing resets."""


class Relay:
    """The connections of one proxy, and what is done to them. For one event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._fates = Fates(CLEAR, random.random)
        self._open: set[Connection] = set()
        self.counts: Counter[str] = Counter()
        """``requests``, ``bytes`` in both directions, and requests ``held`` back or answered in the target's place."""

    @property
    def disturbance(self) -> Disturbance:
        """Return what is in force."""
        return self._fates.disturbance

    def disturb(self, disturbance: Disturbance, seed: int = 0) -> None:
        """Treat every request from now on so; also those of open connections."""
        self._fates = Fates(disturbance, random.Random(seed).random)  # noqa: S311  repeatable on purpose
        if disturbance.down is Down.RESET:
            for connection in tuple(self._open):
                connection.reset()
        for connection in self._open:
            connection.look_again()

    def lift(self) -> None:
        """Disturb nothing any more. What is held back already is passed on at once."""
        if not self.disturbance.is_clear:
            self.disturb(CLEAR)

    def next_fate(self) -> Fate:
        """Decide about a request and count it."""
        fate = self._fates.next()
        self.counts["requests"] += 1
        self.counts["held"] += fate.delay > 0
        if fate.answer is not Answer.TARGET:
            self.counts[fate.answer] += 1
        return fate

    def is_idle(self) -> bool:
        """Tell whether no connection is open."""
        return not self._open

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one client's connection on until it ends."""
        if self.disturbance.down is Down.RESET:
            reset(writer)
            return
        try:
            server = await asyncio.open_connection(*self._address)
        except OSError:
            self.counts["unreachable"] += 1
            reset(writer)
            return
        connection = Connection(self, (reader, writer), server)
        self._open.add(connection)
        try:
            await connection.run()
        except OSError:
            log.debug("a connection ended early")
        finally:
            self._open.discard(connection)


class Connection:
    """One client, one target, and what passes between them."""

    def __init__(
        self,
        relay: Relay,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._relay = relay
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._requests = Requests()
        self._fate = Fate()
        self._is_turn = True
        """Whether the client's next bytes begin another request, where the protocol does not say so."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Pass bytes in both directions until both have ended."""
        tasks = [asyncio.create_task(self._upward()), asyncio.create_task(self._downward())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            for writer in (self._to_client, self._to_server):
                writer.close()

    def reset(self) -> None:
        """Reset both sides."""
        reset(self._to_client)
        reset(self._to_server)

    def look_again(self) -> None:
        """Wake what waits: the disturbance has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _upward(self) -> None:
        """Pass the client's requests on, each according to its fate."""
        while content := await self._from_client.read(CHUNK):
            for piece in self._requests.feed(content):
                if not await self._pass_up(piece):
                    return
        with contextlib.suppress(OSError):
            self._to_server.write_eof()

    async def _pass_up(self, piece: Piece) -> bool:
        """Pass one piece on; False once the connection is over."""
        if piece.is_start or (self._requests.is_raw and self._is_turn):
            self._fate, self._is_turn = self._relay.next_fate(), False
        if self._fate.answer in (Answer.ABORT, Answer.RESET):
            if self._fate.answer is Answer.RESET:
                reset(self._to_client)
            self._to_client.close()
            self._to_server.close()
            return False
        if self._fate.answer is Answer.ERROR and not self._requests.is_raw:
            if piece.is_end:
                await self._answer_error()
            return True
        await self._until_not_hung()
        await self._write(self._to_server, piece.content)
        return True

    async def _answer_error(self) -> None:
        """Answer a request in the target's place; the connection stays usable."""
        await self._wait_until(asyncio.get_running_loop().time() + self._fate.delay)
        status, body = self._fate.status, b"injected by quadra chaos\n"
        phrase = responses.get(status, "Injected")
        head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\nX-Quadra-Chaos: error\r\n"
        self._to_client.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._to_client.drain()

    async def _downward(self) -> None:
        """Pass the target's answers on, each chunk when it is due."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        sender = asyncio.create_task(self._send(chunks))
        loop, due = asyncio.get_running_loop(), 0.0
        try:
            while content := await self._from_server.read(CHUNK):
                self._is_turn = True
                due = max(due, loop.time() + self._fate.delay)  # never before what was written earlier
                await chunks.put((due, content))
            await chunks.put((due, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(self, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Write chunks as they become due; an empty one ends the direction."""
        while True:
            due, content = await chunks.get()
            await self._wait_until(due)
            await self._until_not_hung()
            if not content:
                with contextlib.suppress(OSError):
                    self._to_client.write_eof()
                return
            await self._write(self._to_client, content)

    async def _wait_until(self, due: float) -> None:
        """Wait until a moment, or until nothing is disturbed any more."""
        loop = asyncio.get_running_loop()
        while loop.time() < due and not self._relay.disturbance.is_clear:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()

    async def _until_not_hung(self) -> None:
        """Wait while the target is to seem hung."""
        while self._relay.disturbance.down is Down.HANG:
            await self._changed.wait()

    async def _write(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        """Write bytes; in slices that are due one after the other where there is a bandwidth."""
        loop, due = asyncio.get_running_loop(), 0.0
        self._relay.counts["bytes"] += len(content)
        while content:
            bandwidth = self._relay.disturbance.bandwidth
            size = len(content) if bandwidth is None else max(1, int(bandwidth * SLICE))
            if bandwidth is not None:
                due = max(due, loop.time()) + min(size, len(content)) / bandwidth
                await self._wait_until(due)
            writer.write(content[:size])
            await writer.drain()
            content = content[size:]


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset."""
    line = writer.get_extra_info("socket")
    if line is not None:
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()
