"""The WebSocket hub: an ASGI application that tells browsers and commands what happens to jobs.

``/ws`` answers a WebSocket. ``?job=ID`` asks for one job, from its beginning; without it the client hears of all jobs
from now on. ``?after=N`` asks for everything above sequence N: a client that comes back with the last number it saw
misses nothing and sees nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from quadra_matrix.access.flask.answers import STATUSES
from quadra_matrix.access.origins import Origins
from quadra_matrix.errors import AccessRefused, Forbidden, InvalidValue, Unauthenticated, require
from quadra_matrix.service.feed import BETWEEN_LOOKS, Feed
from quadra_matrix.service.settings import Settings
from quadra_matrix.store import JobLog
from quadra_matrix.tls.headers import HeaderOptions, SecurityHeaders

log = logging.getLogger(__name__)

PATH = "/ws"

PATIENCE = 5.0
"""Seconds a client may take to accept one message before it is dropped."""

MOST_CLIENTS = 2000
"""Connections of one hub; past it a client is refused with 503."""

SECURITY = [
    (name.lower().encode(), value.encode()) for name, value in SecurityHeaders(HeaderOptions()).plain(is_https=False)
]
"""Security headers of the hub's few answers in HTTP."""

RECHECK = 15.0
"""Seconds after which it is asked again whether a client may listen: a revoked key hears no more than this."""

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


Within = Callable[[Mapping[str, str]], AbstractContextManager[object]]
"""Returns the block that a connection lives in, from the headers of its handshake."""


def untraced(headers: Mapping[str, str]) -> AbstractContextManager[object]:
    """Return a block that does nothing."""
    return contextlib.nullcontext()


Admit = Callable[[Mapping[str, str], str], None]
"""Returns if the client with these headers, names in lower case, and this address may listen; raises
``AccessRefused``. May block: it is called in a thread."""


def everybody(headers: Mapping[str, str], address: str) -> None:
    """Let a client listen, whoever it is."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client wants to hear."""

    job: str | None
    after: int | None

    def __post_init__(self) -> None:
        if self.job is not None:
            require(re.fullmatch(r"[0-9a-f]{32}", self.job) is not None, "job", self.job, "32 hexadecimal digits")
        if self.after is not None:
            require(0 <= self.after < 2**63, "after", self.after, "a sequence number, 0 or more")


def subscription(query: bytes) -> Subscription:
    """Read what the query of an address asks for. Raises ``InvalidValue``."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    after = given["after"][-1] if "after" in given else None
    if after is not None:
        require(re.fullmatch(r"[0-9]{1,18}", after) is not None, "after", after, "a sequence number, 0 or more")
    return Subscription(given["job"][-1] if "job" in given else None, int(after) if after is not None else None)


def own_origins(settings: Settings) -> Origins:
    """Return the origins of the service's own pages and those that the settings allow."""
    hosts = {f"[{settings.host}]" if ":" in settings.host else settings.host}
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(settings.host).is_loopback:
            hosts |= {"localhost", "127.0.0.1", "[::1]"}
    own = {f"{scheme}://{host}:{settings.port}" for scheme in ("http", "https") for host in hosts}
    return Origins.of(own | set(settings.allowed_origins))


class Hub:
    """An ASGI application. Lives in one event loop."""

    def __init__(
        self,
        events: JobLog,
        *,
        origins: Origins,
        admit: Admit = everybody,
        recheck: float = RECHECK,
        is_closing: Callable[[], bool] = lambda: False,
        patience: float = PATIENCE,
        most_clients: int = MOST_CLIENTS,
        within: Within = untraced,
    ) -> None:
        """``origins`` are those that a browser's page may have; a program sends none. ``admit`` decides who may listen.

        ``is_closing`` is asked a few times a second: granian cuts connections before it tells the application of a
        shutdown, so the hub has to know earlier to say goodbye. ``within`` is the span of a connection.
        """
        self._feed = Feed(events)
        self._origins, self._patience, self._most_clients = origins, patience, most_clients
        self._is_closing, self._within = is_closing, within
        self._admit, self._recheck = admit, recheck
        self._clients = 0
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._welcome(scope, receive, send)
        else:
            status = 200 if scope["path"] == "/health" else 404
            await _answer(send, "http.response", status, b'{"status":"ok"}' if status == 200 else b"{}")

    async def _live(self, receive: Receive, send: Send) -> None:
        """Follow the log from start to shutdown."""
        await receive()
        try:
            await self._feed.start()
        except Exception:  # the edge of the process: the supervisor starts it again
            log.exception("the event log cannot be read")
            await send({"type": "lifespan.startup.failed", "message": "the event log cannot be read"})
            return
        tasks = {asyncio.create_task(self._feed.follow()), asyncio.create_task(self._watch())}
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch(self) -> None:
        """Let every client go once the service stops."""
        while not self._is_closing():
            await asyncio.sleep(BETWEEN_LOOKS)
        self._closing.set()

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a client in, or say why not."""
        try:
            wanted = subscription(scope["query_string"])
        except InvalidValue as refused:
            return await _refuse(scope, send, 400, str(refused))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        if origin is not None and not self._origins.allows(origin):
            return await _refuse(scope, send, 403, "this origin may not connect; allow it with QUADRA_ALLOWED_ORIGINS")
        if scope["path"] != PATH:
            return await _refuse(scope, send, 404, f"WebSockets are at {PATH}")
        address = (scope.get("client") or ("",))[0]
        refusal = await self._refusal(headers, address)
        if refusal is not None:
            return await _refuse(scope, send, STATUSES[type(refusal)], str(refusal))
        if self._clients >= self._most_clients or self._closing.is_set():
            return await _refuse(scope, send, 503, "too many connections, or the service stops; try again later")
        await receive()
        await send({"type": "websocket.accept"})
        self._clients += 1
        try:
            with self._within(headers):
                await self._serve(wanted, receive, send, partial(self._until_refused, headers, address))
        finally:
            self._clients -= 1

    async def _refusal(self, headers: Mapping[str, str], address: str) -> AccessRefused | None:
        """Return why a client may not listen, or None; asked in a thread, as it may read the database."""
        try:
            await asyncio.to_thread(self._admit, headers, address)
        except AccessRefused as refused:
            return refused
        return None

    async def _until_refused(self, headers: Mapping[str, str], address: str) -> None:
        """Return once a client may no longer listen; while nobody can tell, it may."""
        while True:
            await asyncio.sleep(self._recheck)
            if isinstance(await self._refusal(headers, address), Unauthenticated | Forbidden):
                return

    async def _serve(
        self, wanted: Subscription, receive: Receive, send: Send, refused: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Send until the client leaves, is too slow, may no longer listen, or the hub closes."""
        after = wanted.after if wanted.after is not None else 0 if wanted.job else self._feed.latest
        sending = asyncio.create_task(self._send(wanted.job, after, send))
        leaving = asyncio.create_task(_left(receive))
        closing = asyncio.create_task(self._closing.wait())
        refusing = asyncio.create_task(refused())
        tasks = {sending, leaving, closing, refusing}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        if leaving.done() and not leaving.cancelled():
            return
        for error in results:
            if isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError | TimeoutError):
                log.error("a client's connection failed", exc_info=error)
        code = GOING_AWAY if self._closing.is_set() else TRY_AGAIN_LATER
        if refusing.done() and not refusing.cancelled():
            code = POLICY_VIOLATION
        with contextlib.suppress(TimeoutError):  # what it has not read yet stands before this in its connection
            async with asyncio.timeout(self._patience):
                await send({"type": "websocket.close", "code": code})

    async def _send(self, job: str | None, after: int, send: Send) -> None:
        """Send everything above ``after`` for ever. Raises ``TimeoutError`` when the client does not take it."""
        while True:
            page = await self._feed.after(after, job)
            for told in page.events:
                async with asyncio.timeout(self._patience):
                    await send({"type": "websocket.send", "text": told.text})
            after = page.seen


async def _left(receive: Receive) -> None:
    """Return when the client is gone; what it says is not listened to."""
    while (await receive())["type"] != "websocket.disconnect":
        continue


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    """Answer a handshake with an HTTP error, in words where the server can carry them."""
    if "websocket.http.response" in scope.get("extensions", {}):
        problem = b'{"title":"refused","status":%d,"detail":"%s"}' % (status, why.replace('"', "'").encode())
        await _answer(send, "websocket.http.response", status, problem)
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})


async def _answer(send: Send, kind: str, status: int, body: bytes) -> None:
    """Send a short JSON answer."""
    media = b"application/json" if status < 400 else b"application/problem+json"
    headers = [(b"content-type", media), (b"content-length", str(len(body)).encode()), *SECURITY]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
