"""The WebSocket hub: who gets in, what a client hears, and what happens to one that does not listen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from quadra_matrix.access.origins import Origins
from quadra_matrix.service.hub import Hub, own_origins, subscription
from quadra_matrix.service.jobs import machine
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.service.processes import start
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job
from tests.service.conftest import Serve, Submit
from tests.service.test_feed import JOBS, MemoryLog, grow
from tests.services.process import accepts, stop, wait_until


@pytest.fixture
def hub(settings: Settings, jobs: SqlJobs) -> Iterator[str]:
    process = start("quadra_matrix.service.servers", "hub", settings=settings)
    wait_until(lambda: accepts(settings.hub_port), "the hub")
    yield f"ws://127.0.0.1:{settings.hub_port}/ws"
    stop(process)


def cancel(jobs: SqlJobs, job: Job) -> None:
    jobs.change(job.id, lambda found: machine.ask_to_cancel(found, now=1000.0))


def read(text: str | bytes) -> WebSocketMessage:
    return WebSocketMessage.model_validate_json(text)


def hear(socket: ClientConnection, number: int) -> list[WebSocketMessage]:
    return [read(socket.recv(timeout=20)) for _ in range(number)]


@pytest.mark.slow
def test_a_client_hears_of_all_jobs_or_of_one(hub: str, jobs: SqlJobs, submit: Submit) -> None:
    early = submit("quick")
    wait_until(lambda: jobs.latest() > 0, "the event")

    with connect(hub + "?after=0") as everything, connect(f"{hub}?job={early.id}") as one:
        first = hear(everything, 1) + hear(one, 1)
        with connect(hub) as fresh:
            late = submit("quick")
            cancel(jobs, early)
            of_all, of_one, of_new = hear(everything, 2), hear(one, 1), hear(fresh, 2)

    assert [(news.type, news.data.job) for news in first] == [("job.queued", early.id)] * 2
    assert [(news.type, news.data.job) for news in of_all] == [("job.queued", late.id), ("job.cancelled", early.id)]
    assert of_one == of_all[1:]
    assert of_new == of_all


@pytest.mark.slow
def test_a_client_that_reconnects_misses_nothing_and_sees_nothing_twice(
    hub: str, jobs: SqlJobs, submit: Submit
) -> None:
    writing = threading.Thread(target=lambda: [cancel(jobs, submit("quick")) for _ in range(100)])
    seen: list[int] = []

    writing.start()
    while len(seen) < 200:
        with connect(f"{hub}?after={seen[-1] if seen else 0}") as socket:
            seen += [news.sequence for news in hear(socket, min(17, 200 - len(seen)))]
    writing.join(20)

    assert seen == [event.sequence for event in jobs.read(0)]


@pytest.mark.slow
def test_a_stranger_is_refused(hub: str, settings: Settings) -> None:
    assert refused(hub, origin="http://evil.example") == 403
    assert refused(hub, origin=f"http://127.0.0.1:{settings.port}.evil.example") == 403
    assert refused(hub, origin="null") == 403
    assert refused(hub + "?after=-1") == 400
    assert refused(hub + "?job=mine") == 400
    assert refused(hub.removesuffix("/ws") + "/other") == 404
    with connect(hub, additional_headers={"Origin": f"http://localhost:{settings.port}"}):
        pass


def refused(url: str, origin: str | None = None) -> int:
    with (
        pytest.raises(InvalidStatus) as answer,
        connect(url, additional_headers={"Origin": origin} if origin else None),
    ):
        pass
    return answer.value.response.status_code


@pytest.mark.slow
def test_a_slow_reader_is_dropped_and_others_are_not(hub: str, jobs: SqlJobs, submit: Submit) -> None:
    """16 MB are more than the buffers of both sides hold."""
    job = submit("quick")
    jobs.change(job.id, lambda found: machine.claim(found, owner="r", now=time.time(), lease=60))
    jobs.change(job.id, lambda found: machine.begin(found, holder="h", now=time.time(), lease=60))
    large = {f"{number:0100d}": 1.0 for number in range(5000)}

    with (
        connect(hub + "?after=0", max_queue=1, max_size=None) as slow,
        connect(f"{hub}?after=0", max_size=None) as quick,
    ):
        for step in range(30):
            told = large | {"step": float(step)}
            jobs.change(job.id, lambda found, m=told: machine.progress(  # type: ignore[misc]
                found, holder="h", phase="fit", fraction=0.1, metrics=m))  # fmt: skip
        heard = hear(quick, 33)
        threading.Event().wait(7)  # longer than the hub waits for a reader
        with pytest.raises(ConnectionClosed) as closed:
            hear(slow, 40)

    assert len(heard) == 33
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1013


@pytest.mark.slow
def test_two_hundred_idle_sockets_leave_http_alone(serve: Serve, jobs: SqlJobs, submit: Submit) -> None:
    async def run(url: str) -> list[WebSocketMessage]:
        async with asyncio.timeout(60):
            sockets = await asyncio.gather(*(connect_async(url) for _ in range(200)))
            for _ in range(50):
                assert await asyncio.to_thread(service.get) > 0
            await asyncio.to_thread(submit, "nobody")
            heard = await asyncio.gather(*(socket.recv() for socket in sockets))
            await asyncio.gather(*(socket.close() for socket in sockets))
            return [read(text) for text in heard]

    with serve() as service:
        heard = asyncio.run(run(service.hub))

    assert len(heard) == 200
    assert {news.type for news in heard} == {"job.queued"}


def test_an_address_says_what_a_client_wants() -> None:
    wanted = subscription(b"job=" + b"a" * 32 + b"&after=7")

    assert (wanted.job, wanted.after) == ("a" * 32, 7)
    assert subscription(b"").after is None


def test_own_pages_and_allowed_ones_may_connect() -> None:
    origins = own_origins(Settings(allowed_origins=("https://ops.example",)))

    assert {"http://127.0.0.1:5000", "http://localhost:5000", "https://ops.example"} <= origins.listed
    assert own_origins(Settings(host="10.0.0.5")) == Origins.of(["http://10.0.0.5:5000", "https://10.0.0.5:5000"])
    assert own_origins(Settings(host="models.example")).allows("http://models.example:5000")
    assert own_origins(Settings(host="::1")).allows("http://[::1]:5000")


async def converse(hub: Hub, path: str = "/ws", *, stuck: bool = False) -> list[MutableMapping[str, Any]]:
    """Connect one client without a server, and return what the hub sent until it closed."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if not sent:
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        return {"type": "websocket.disconnect"}

    async def send(said: MutableMapping[str, Any]) -> None:
        if stuck and said["type"] == "websocket.send":
            await asyncio.Event().wait()
        sent.append(said)

    scope = {"type": "websocket", "path": path, "query_string": b"after=0", "headers": [], "extensions": {}}
    await asyncio.wait_for(hub(scope, receive, send), 10)
    return sent


async def with_life(hub: Hub, **how: Any) -> list[MutableMapping[str, Any]]:
    """Start the hub as a server does, let one client talk to it and shut it down."""
    inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    living = asyncio.create_task(hub({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    sent = await converse(hub, **how)
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    await living
    return sent


def test_a_reader_that_takes_nothing_is_told_to_come_back_later() -> None:
    log = MemoryLog()
    grow(log, [(1, JOBS[0])])

    sent = asyncio.run(with_life(Hub(log, origins=Origins.of([]), patience=0.01), stuck=True))

    assert sent[-1] == {"type": "websocket.close", "code": 1013}


def test_a_full_hub_refuses() -> None:
    sent = asyncio.run(with_life(Hub(MemoryLog(), origins=Origins.of([]), most_clients=0)))

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_hub_that_closes_lets_its_clients_go() -> None:
    checks = iter([False, False, True])
    hub = Hub(MemoryLog(), origins=Origins.of([]), is_closing=lambda: next(checks))

    sent = asyncio.run(with_life(hub))

    assert sent[-1] == {"type": "websocket.close", "code": 1001}


def test_a_hub_without_its_log_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    class NoLog(MemoryLog):
        def latest(self) -> int:
            raise OSError("no database")

    async def run() -> str:
        said: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "lifespan.startup"}

        async def send(message: MutableMapping[str, Any]) -> None:
            said.append(message)

        await Hub(NoLog(), origins=Origins.of([]))({"type": "lifespan"}, receive, send)
        return str(said[0]["type"])

    assert asyncio.run(run()) == "lifespan.startup.failed"
    assert "no database" in caplog.text
