"""The front: TLS in front of a server that knows none."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.events.tls import HandshakeFailed
from quadra_matrix.testing import RecordingHook
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.context import ServerFiles
from quadra_matrix.tls.passing import CLIENT_CERTIFICATE, FIELD, OF_CLIENTS, Connection, behind_front
from tests.services.process import wait_until
from tests.tls.fronts import OK, Answer, Running, exchange, front
from tests.tls.servers import connected, trusting

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    return ServerFiles(*generate_self_signed_cert(tmp_path / "certs"))


@pytest.fixture
def client(files: ServerFiles) -> ssl.SSLContext:
    return trusting(files.certificate.with_name("ca.pem"))


@pytest.fixture
def running(files: ServerFiles) -> Iterator[Running]:
    with front(files) as running:
        yield running


def heard(running: Running, what: bytes) -> bytes:
    """Return what came through once ``what`` has."""
    wait_until(lambda: what in running.received, "the request to come through")
    return bytes(running.received)


def refusal(answer: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of the front's own answer, whose body is a problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert json.loads(body)["status"] == int(first.split()[1])
    return int(first.split()[1]), headers


def test_requests_of_one_connection_pass_one_after_the_other(running: Running, client: ssl.SSLContext) -> None:
    with connected(running.https, client) as connection:
        port = connection.getsockname()[1]
        for path in (b"/a", b"/b"):
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100) == OK

        told = f"X-Quadra-Front: https 127.0.0.1 {port}\r\n\r\n".encode()
        assert running.received == b"".join(
            b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + told for path in (b"/a", b"/b")
        )


def test_a_plain_door_says_that_it_is_plain(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.http), timeout=30) as connection:
        connection.sendall(GET)
        assert connection.recv(100) == OK

    assert b"X-Quadra-Front: http 127.0.0.1 " in running.received


@pytest.mark.parametrize("name", [FIELD, FIELD.lower(), FIELD.replace("-", "_")])
def test_a_client_cannot_speak_for_the_front(running: Running, client: ssl.SSLContext, name: str) -> None:
    with connected(running.https, client) as connection:
        for _ in range(2):
            connection.sendall(f"GET / HTTP/1.1\r\n{name}: https 6.6.6.6 1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(100) == OK

    assert b"6.6.6.6" not in running.received
    assert len(OF_CLIENTS.findall(bytes(running.received))) == 2


def test_a_body_is_never_taken_for_a_request(running: Running, client: ssl.SSLContext) -> None:
    body = b"GET /inside HTTP/1.1\r\nX-Quadra-Front: kept\r\n\r\n"
    with connected(running.https, client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body + GET)
        everything = heard(running, b"Host: localhost")

    assert body in everything
    assert everything.count(b"X-Quadra-Front: https") == 2


def test_chunks_pass_without_extensions_and_trailers(running: Running, client: ssl.SSLContext) -> None:
    chunks = b"5;a=b\r\nhello\r\n0\r\nX-Quadra-Front: forged\r\n\r\n"
    with connected(running.https, client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + GET)
        everything = heard(running, b"Host: localhost")

    assert b"\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n" in everything
    assert b"forged" not in everything


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000 + b"\r\n\r\n", 431),
        (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 97 + b"\r\n", 431),
        (b"CONNECT * HTTP/1.1\r\n\r\n", 405),
    ],
    ids=["malformed", "long", "two lengths", "long chunk", "no chunk", "trailers", "tunnel"],
)
def test_the_answers_of_the_front_have_the_headers(
    files: ServerFiles, client: ssl.SSLContext, request_: bytes, status: int
) -> None:
    with front(files, answer=silent) as running, connected(running.https, client) as connection:
        given_, headers = refusal(exchange(connection, request_))

    assert given_ == status
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; script-src 'strict-dynamic'")
    assert headers["Connection"] == "close"


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and answer nothing."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1000):
            continue
    writer.close()


def test_a_request_that_was_cut_short_does_not_look_complete(running: Running, client: ssl.SSLContext) -> None:
    with connected(running.https, client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        heard(running, b"half")

    wait_until(lambda: bool(running.ends), "the connection behind to end")


def test_a_service_that_is_away_is_a_503(running: Running, client: ssl.SSLContext) -> None:
    (running.folder / "behind.sock").unlink()

    with connected(running.https, client) as connection:
        status, headers = refusal(exchange(connection, GET))

    assert (status, headers["Retry-After"]) == (503, "1")


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
FORGED = b"GET /ws HTTP/1.1\r\nX-Quadra-Front: https 127.0.0.1 1\r\n\r\n"


def hub(status: bytes, received: bytearray) -> Answer:
    """Return a server that answers the request for a WebSocket with a status, and keeps what comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1000):
                received.extend(part)
                writer.write(part)
        writer.close()

    return answer


def test_a_websocket_is_bytes_once_it_is_open(files: ServerFiles, client: ssl.SSLContext) -> None:
    received = bytearray()
    with (
        front(files, answer=hub(b"101 Switching Protocols", received)) as running,
        connected(running.hub, client) as connection,
    ):
        connection.sendall(UPGRADE + b"X-Quadra-Front: https 6.6.6.6 1\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"\x81\x85 no request at all")
        assert connection.recv(1000) == b"\x81\x85 no request at all"

    assert b"6.6.6.6" not in received
    assert b"X-Quadra-Front: https 127.0.0.1 " in received


def test_a_websocket_that_is_refused_opens_no_way_to_forge(files: ServerFiles, client: ssl.SSLContext) -> None:
    """What the client says next would be read as a request, and nobody would have removed what it claims to be."""
    received = bytearray()
    with (
        front(files, answer=hub(b"401 Unauthorized", received)) as running,
        connected(running.hub, client) as connection,
    ):
        connection.sendall(UPGRADE + b"\r\n" + FORGED)
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
        connection.sendall(FORGED)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1000)

    assert received.count(b"GET /ws") == 1


@pytest.mark.parametrize(
    "request_",
    [GET + UPGRADE + b"\r\n", UPGRADE + b"Content-Length: 5\r\n\r\nhello"],
    ids=["second request", "with a body"],
)
def test_a_websocket_begins_a_connection(files: ServerFiles, client: ssl.SSLContext, request_: bytes) -> None:
    with front(files, answer=silent) as running, connected(running.hub, client) as connection:
        status, _ = refusal(exchange(connection, request_))

    assert status == 400


def test_requests_to_the_hub_pass_as_elsewhere(running: Running, client: ssl.SSLContext) -> None:
    with connected(running.hub, client) as connection:
        for _ in range(2):
            connection.sendall(FORGED)
            assert connection.recv(100) == OK

    assert len(OF_CLIENTS.findall(bytes(running.received))) == 2
    assert b"https 127.0.0.1 1\r\n" not in running.received


def test_what_comes_back_is_copied_as_it_is(files: ServerFiles, client: ssl.SSLContext) -> None:
    large = bytes(range(256)) * 20_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(large)
        await writer.drain()
        writer.close()

    with front(files, answer=answer) as running, connected(running.https, client) as connection:
        assert exchange(connection, GET) == large


def test_a_large_upload_arrives_whole(files: ServerFiles, client: ssl.SSLContext) -> None:
    body = bytes(range(256)) * 20_000
    arrived = bytearray()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.extend(await reader.readexactly(len(body)))
        writer.write(OK)
        await writer.drain()
        writer.close()

    with front(files, answer=keep) as running, connected(running.https, client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body)
        assert connection.recv(100) == OK

    assert arrived == body


def test_silent_clients_delay_nobody_and_are_dropped(files: ServerFiles, client: ssl.SSLContext) -> None:
    hook = RecordingHook()
    with front(files, hook=hook, handshake_timeout=1.0) as running, contextlib.ExitStack() as held:
        silent_ones = [
            held.enter_context(socket.create_connection(("127.0.0.1", running.https), timeout=30)) for _ in range(200)
        ]
        began = time.monotonic()
        with connected(running.https, client) as connection:
            connection.sendall(GET)
            assert connection.recv(100) == OK
        assert time.monotonic() - began < 1
        for one in silent_ones:
            with contextlib.suppress(ConnectionError):
                assert one.recv(1) == b""

    assert {event.reason for event in hook.of(HandshakeFailed)} == {"not done in time"}
    assert len(hook.of(HandshakeFailed)) == 200


def test_plain_text_is_never_passed_on(files: ServerFiles) -> None:
    hook = RecordingHook()
    with front(files, hook=hook) as running, socket.create_connection(("127.0.0.1", running.https), 30) as plain:
        plain.sendall(GET)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := plain.recv(1000):
                received += part
        assert b"HTTP" not in received
        assert running.received == b""

    assert [event.reason for event in hook.of(HandshakeFailed)] == ["http request"]


# What is told, and who reads it


@pytest.mark.parametrize("certificate", [None, b"\x30\x82der"])
def test_the_application_sees_the_clients_of_the_front(certificate: bytes | None) -> None:
    field = Connection("2001:db8::1", 4444, is_https=True, certificate=certificate).field().decode()
    told = re.fullmatch(r"X-Quadra-Front: (.*)\r\n", field)
    assert told is not None
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: object) -> list[bytes]:
        seen.update(environ)
        return []

    behind_front(app)({"HTTP_X_QUADRA_FRONT": told[1], "wsgi.url_scheme": "http"}, lambda *_: lambda _: None)

    assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("https", "2001:db8::1", "4444")
    assert "HTTP_X_QUADRA_FRONT" not in seen
    held = seen.get(CLIENT_CERTIFICATE)
    assert (base64.b64decode(held) if held else None) == certificate
