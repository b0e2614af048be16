"""Requests that are made to hurt: refused, quickly, through a real server too."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.hostile import HOSTILE
from tests.api.test_validated import app_with_routes
from tests.services.process import accepts, free_port, running


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_with_a_short_problem(name: str) -> None:
    answer = app_with_routes().test_client().post("/sum", data=HOSTILE[name], content_type="application/json")

    assert 400 <= answer.status_code < 500
    assert answer.content_type == "application/problem+json"
    assert len(answer.data) < 50_000


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    found = free_port()
    granian = Path(sys.executable).with_name("granian")
    command = [granian, "--interface", "wsgi", "--factory", "--port", found, "tests.api.test_validated:app_with_routes"]
    log = tmp_path_factory.mktemp("granian") / "log"
    with running([str(part) for part in command], log=log, ready=lambda: accepts(found)):
        yield found


def exchange(port: int, *parts: bytes) -> bytes:
    """Send raw bytes and return what comes back until the server closes or has nothing more to say."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.settimeout(20)
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end: that is the point
        try:
            while b"\r\n\r\n" not in received or b'"trace_id"' not in received:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return received


HEAD = b"POST /sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.mark.slow
def test_a_chunked_body_over_the_limit_is_413_on_a_real_server(port: int) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"

    answer = exchange(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 17, b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in answer


@pytest.mark.slow
def test_a_chunked_body_within_the_limit_is_read(port: int) -> None:
    answer = exchange(
        port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b'10\r\n{"features": [3]\r\n1\r\n}\r\n0\r\n\r\n'
    )

    assert b'{"total":3.0' in answer


@pytest.mark.slow
def test_a_length_over_the_limit_is_413_before_a_byte_is_sent(port: int) -> None:
    answer = exchange(port, HEAD + b"Content-Length: 99999999\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_length_below_the_body_cuts_it_and_the_rest_is_no_second_request(port: int) -> None:
    answer = exchange(port, HEAD + b"Content-Length: 4\r\n\r\n", b'{"features": [3]}')

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
