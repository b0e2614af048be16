"""Who may listen at the hub: the rules of HTTP, in the handshake and as long as the connection lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from quadra_matrix.access.gate import Gate, GateOptions
from quadra_matrix.access.identity import Identity, Via
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import pepper
from quadra_matrix.access.origins import Origins
from quadra_matrix.errors import AccessUndecided, Forbidden, Unauthenticated
from quadra_matrix.service.access.door import Door
from quadra_matrix.service.access.wiring import keyring_of
from quadra_matrix.service.hub import Hub
from quadra_matrix.service.processes import start
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.testing import MemoryKeys
from tests.service.test_feed import MemoryLog
from tests.services.process import accepts, free_port, stop, wait_until

HERE, AFAR = "127.0.0.1", "203.0.113.9"
OWN, ANY = Origins.of(["https://own.example"]), Origins.of(["*"])
CLOSED = GateOptions(local_scopes=frozenset())


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(MemoryKeys(), [pepper("a secret")])


def headers(**given: str) -> dict[str, str]:
    return {"host": "localhost:5001", **{name.replace("_", "-"): value for name, value in given.items()}}


def test_a_key_or_a_token_listens_from_anywhere(keyring: Keyring) -> None:
    door, text = Door(Gate(keyring, options=CLOSED), OWN), keyring.create("ci", ["read"])[1]

    door.admit(headers(authorization=f"Bearer {text}"), AFAR)
    door.admit(headers(x_api_key=text), AFAR)
    with pytest.raises(Unauthenticated):
        door.admit(headers(), HERE)
    with pytest.raises(Forbidden):
        door.admit(headers(x_api_key=keyring.create("ci", ["predict"])[1]), AFAR)


def test_this_machine_listens_in_development_and_a_lured_browser_does_not() -> None:
    door = Door(Gate(), OWN)

    door.admit(headers(), HERE)
    door.admit(headers(origin="https://own.example"), HERE)
    for given in (headers(host="evil.example"), headers(x_forwarded_for=AFAR)):
        with pytest.raises(Unauthenticated):
            door.admit(given, HERE)
    with pytest.raises(Unauthenticated):
        door.admit(headers(), AFAR)


def session(keyring: Keyring) -> str:
    return keyring.open_session(Identity("key:x", "ada", frozenset({"read"}), Via.KEY), 60)[1]


def test_a_page_of_the_service_listens_for_whoever_is_signed_in(keyring: Keyring) -> None:
    door, cookie = Door(Gate(keyring, options=CLOSED), OWN), f"a=b; quadra_session={session(keyring)}"

    door.admit(headers(cookie=cookie, origin="https://own.example"), AFAR)
    for given in (headers(cookie="quadra_session=x"), headers(cookie="\x00;;=")):
        with pytest.raises(Unauthenticated):
            door.admit(given, AFAR)


def test_a_page_that_may_call_because_every_page_may_is_nobody(keyring: Keyring) -> None:
    cookie = f"quadra_session={session(keyring)}"

    for gate in (Gate(keyring, options=CLOSED), Gate(keyring)):
        with pytest.raises(Unauthenticated):
            Door(gate, ANY).admit(headers(cookie=cookie, origin="https://evil.example"), HERE)


def test_behind_the_front_its_word_counts_and_nowhere_else(keyring: Keyring) -> None:
    told = {"x-quadra-front": f"https {AFAR} 4711"}

    for door in (Door(Gate(), OWN, has_front=True),):
        door.admit(headers() | {"x-quadra-front": f"https {HERE} 4711"}, "")
        for given in (told, {}):
            with pytest.raises(Unauthenticated):
                door.admit(headers() | given, HERE)
    Door(Gate(), OWN).admit(headers() | told, HERE)
    secure = Door(Gate(keyring, options=CLOSED), OWN, has_front=True)
    secure.admit(headers(cookie=f"__Host-quadra_session={session(keyring)}") | told, "")
    with pytest.raises(Unauthenticated):
        secure.admit(headers(cookie=f"quadra_session={session(keyring)}") | told, "")


class Fickle:
    """Admits until a test says otherwise."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = [None]

    def __call__(self, headers: Any, address: str) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


def converse(hub: Hub) -> list[MutableMapping[str, Any]]:
    """Connect one client to the hub's own loop and return what it is sent until the hub lets it go."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if sent:
            await asyncio.Event().wait()
        return {"type": "websocket.connect"}

    async def send(said: MutableMapping[str, Any]) -> None:
        sent.append(said)

    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "extensions": {}, "client": None}
    asyncio.run(asyncio.wait_for(hub(scope, receive, send), 20))
    return sent


def test_a_client_that_may_no_longer_listen_is_let_go_and_a_doubt_lets_nobody_go() -> None:
    admit = Fickle()
    admit.answers = [None, AccessUndecided("the database is away"), None, Unauthenticated("revoked")]

    sent = converse(Hub(MemoryLog(), origins=OWN, admit=admit, recheck=0.01))

    assert sent == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1008}]
    assert len(admit.answers) == 1


def test_a_client_that_may_not_listen_gets_no_connection() -> None:
    admit = Fickle()
    admit.answers = [Unauthenticated("missing")]

    assert converse(Hub(MemoryLog(), origins=OWN, admit=admit)) == [{"type": "websocket.close", "code": 1008}]


@pytest.fixture
def production(tmp_path: Path) -> Iterator[tuple[Settings, Keyring]]:
    settings = Settings(
        data_dir=tmp_path, environment="production", secret_key=new_secret(), hub_port=free_port(), port=free_port()
    )
    database = Database(settings.database_url)
    upgrade(database)
    yield settings, keyring_of(settings, database)
    database.close()


@pytest.mark.slow
def test_in_production_the_hub_asks_for_a_credential(production: tuple[Settings, Keyring]) -> None:
    settings, keyring = production
    process = start("quadra_matrix.service.servers", "hub", settings=settings)
    try:
        wait_until(lambda: accepts(settings.hub_port), "the hub")
        url = f"ws://127.0.0.1:{settings.hub_port}/ws"
        text = keyring.create("ci", ["read"])[1]

        for given, status in (({}, 401), ({"X-API-Key": "qmx_guess"}, 401),
                              ({"X-API-Key": keyring.create("ci", ["predict"])[1]}, 403)):  # fmt: skip
            with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=given):
                pass
            assert refused.value.response.status_code == status
        with connect(url, additional_headers={"Authorization": f"Bearer {text}"}) as socket:
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.2)
            keyring.revoke(keyring.list()[-1].id)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    finally:
        stop(process)
