"""No authority keeps us waiting without end, or fills the memory."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.testing import FakeClock
from quadra_matrix.tls.challenges import PREFIX, ChallengeLayer, answering, nothing_here
from quadra_matrix.tls.shelf import Shelf
from quadra_matrix.tls.transport import LARGEST, Transport, seconds_of
from tests.services.process import free_port

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def server(speak: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Yield the address of a server that speaks to its one client until the block ends."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError), listening.accept()[0] as client:
                client.recv(65536)
                speak(client, over)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        over.set()
        thread.join(30)


def session(seconds: float) -> requests.Session:
    made = requests.Session()
    made.mount("http://", Transport(roots=None, clock=SYSTEM_CLOCK, seconds=seconds))
    return made


def trickle(client: socket.socket, over: threading.Event) -> None:
    client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while not over.wait(0.02):
        client.sendall(b" ")


def say_nothing(client: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def flood(client: socket.socket, over: threading.Event) -> None:
    client.sendall(HEAD + b"\r\n")
    while not over.is_set():
        client.sendall(b" " * 65536)


def break_off(client: socket.socket, over: threading.Event) -> None:
    client.sendall(HEAD + b"Content-Length: 10\r\n\r\nhalf")


@pytest.mark.parametrize("speak", [trickle, say_nothing], ids=lambda speak: speak.__name__)
def test_a_conversation_has_one_deadline(speak: Callable[[socket.socket, threading.Event], None]) -> None:
    began = SYSTEM_CLOCK.monotonic()
    with server(speak) as url, session(0.5) as client, pytest.raises(requests.RequestException):
        client.get(url)

    assert SYSTEM_CLOCK.monotonic() - began < 10


@pytest.mark.parametrize(("speak", "words"), [(flood, str(LARGEST)), (break_off, "IncompleteRead")])
def test_an_answer_that_is_no_answer_is_refused(
    speak: Callable[[socket.socket, threading.Event], None], words: str
) -> None:
    with server(speak) as url, session(60) as client, pytest.raises(requests.RequestException, match=words):
        client.get(url)


def test_nothing_is_asked_after_the_deadline() -> None:
    clock = FakeClock()
    client = requests.Session()
    client.mount("http://", Transport(roots=None, clock=clock, seconds=180))
    clock.advance(180)

    with client, pytest.raises(requests.Timeout, match="too long"):
        client.get(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("-5", 0.0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:15:20 -0000", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(told: str | None, seconds: float | None) -> None:
    assert seconds_of(told, 1_700_000_000.0) == seconds


# The small server for challenges


@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_the_small_server_answers_challenges_alone(tmp_path: Path, address: str) -> None:
    shelf, port = Shelf(tmp_path / "shelf"), free_port()
    shelf.write("answer-0123456789abcdef", b"proof")

    with answering(shelf, port, address), requests.Session() as client:
        url = f"http://127.0.0.1:{port}"
        found = [client.get(url + path) for path in (f"{PREFIX}0123456789abcdef", f"{PREFIX}0123456789abcdeg", "/")]

    assert [answer.status_code for answer in found] == [200, 404, 404]
    assert (found[0].text, found[0].headers["Content-Type"]) == ("proof", "text/plain")


def test_a_silent_client_does_not_hold_the_order(tmp_path: Path) -> None:
    port = free_port()
    began = SYSTEM_CLOCK.monotonic()

    with contextlib.ExitStack() as stack:
        stack.enter_context(answering(Shelf(tmp_path / "shelf"), port, "127.0.0.1"))
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=30)

    assert (len(silent), answer.status_code) == (20, 404)
    assert SYSTEM_CLOCK.monotonic() - began < 9


def test_a_store_that_fails_is_no_answer(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    said: list[str] = []
    layer = ChallengeLayer(nothing_here, Shelf(tmp_path))

    body = layer(
        {"PATH_INFO": f"{PREFIX}0123456789abcdef", "REQUEST_METHOD": "GET"},
        lambda status, headers, error=None: said.append(status),  # type: ignore[arg-type, return-value]
    )

    assert (said, list(body)) == (["503 Service Unavailable"], [b"try again\n"])
