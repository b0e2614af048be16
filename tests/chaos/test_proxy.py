"""A fault proxy, as its clients see it: nothing added at rest, and exactly what was asked otherwise."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from quadra_matrix.chaos.proxy.disturbance import Answer, Disturbance, Down, Fates
from quadra_matrix.chaos.proxy.launch import Proxy
from quadra_matrix.chaos.undo import ask
from quadra_matrix.stats.arms import Counts
from quadra_matrix.stats.fixed import wilson
from quadra_matrix.tls.certs import generate_self_signed_cert
from tests.chaos.conftest import Service
from tests.chaos.target import BETWEEN


@pytest.fixture
def proxy(service: Service, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy in front of the service."""
    started = Proxy(service.address, control=tmp_path / "proxy")
    yield started
    started.close()


@contextmanager
def client(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    host, _, port = proxy.address.rpartition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        yield line
    finally:
        line.close()


def get(line: http.client.HTTPConnection, path: str = "/") -> tuple[int, bytes, float]:
    start = time.monotonic()
    line.request("GET", path)
    answer = line.getresponse()
    return answer.status, answer.read(), time.monotonic() - start


def statuses(proxy: Proxy, requests: int) -> list[int]:
    """Ask on new connections; 0 stands for no answer."""
    found = []
    for _ in range(requests):
        with client(proxy) as line:
            try:
                found.append(get(line)[0])
            except (ConnectionError, http.client.HTTPException):
                found.append(0)
    return found


def test_latency_is_added_once_to_an_answer_of_two_writes(proxy: Proxy) -> None:
    with client(proxy) as line:
        quick = min(get(line, "/two")[2] for _ in range(5))
        proxy.disturb(Disturbance(latency=0.5), seed=0, lease=60)

        slow = min(get(line, "/two")[2] for _ in range(3))

    assert quick >= BETWEEN
    assert 0.49 < slow - quick < 0.56


def test_every_request_of_a_kept_connection_is_held_back_once(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(latency=0.1), seed=0, lease=60)

    with client(proxy) as line:
        times = [get(line)[2] for _ in range(5)]

    assert all(0.1 <= seconds < 0.18 for seconds in times), times


def test_jitter_stays_within_its_bounds_and_repeats_with_the_seed() -> None:
    asked = Disturbance(latency=1.0, jitter=0.5)

    def delays(seed: int) -> list[float]:
        fates = Fates(asked, random.Random(seed).random)
        return [fates.next().delay for _ in range(1000)]

    assert delays(7) == delays(7) != delays(8)
    assert 0.5 <= min(delays(7)) < 0.51 < 1.49 < max(delays(7)) <= 1.5


@pytest.mark.parametrize("field", ["aborts", "resets", "errors"])
def test_thirty_percent_are_thirty_percent_and_repeat_with_the_seed(proxy: Proxy, field: str) -> None:
    asked = Disturbance(**{field: 0.3})

    proxy.disturb(asked, seed=11, lease=60)
    first = statuses(proxy, 400)
    proxy.disturb(asked, seed=11, lease=60)
    again = statuses(proxy, 400)

    hit = 503 if field == "errors" else 0
    bounds = wilson(Counts(400, first.count(hit)), alpha=0.001)
    assert bounds is not None
    assert (bounds.low or 0.0) <= 0.3 <= (bounds.high or 0.0)
    assert first == again
    assert set(first) == {200, hit}


def test_no_percent_is_nothing(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(latency=0.001), seed=3, lease=60)

    assert statuses(proxy, 100) == [200] * 100


def test_an_injected_error_keeps_the_connection_and_never_reaches_the_target(proxy: Proxy) -> None:
    with client(proxy) as line:
        proxy.disturb(Disturbance(errors=1.0, status=429), seed=0, lease=60)
        line.request("POST", "/", body=b"x" * 200_000)
        refused = line.getresponse()
        refused.read()
        port = line.sock.getsockname()[1] if line.sock else None
        proxy.disturb(Disturbance(), seed=0, lease=60)

        assert get(line)[0] == 200
        assert line.sock is not None
        assert line.sock.getsockname()[1] == port

    assert refused.status == 429
    assert refused.headers["X-Quadra-Chaos"] == "error"


def test_a_reset_is_a_reset_and_an_abort_a_quiet_end(proxy: Proxy) -> None:
    for disturbance, expected in ((Disturbance(resets=1.0), ConnectionResetError), (Disturbance(aborts=1.0), None)):
        proxy.disturb(disturbance, seed=0, lease=60)
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if expected is None:
                assert line.recv(100) == b""
            else:
                with pytest.raises(expected):
                    line.recv(100)


def test_bandwidth_is_what_was_asked(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(bandwidth=200_000), seed=0, lease=60)
    body = b"x" * 50_000

    with client(proxy) as line:
        start = time.monotonic()
        line.request("POST", "/", body=body)
        assert line.getresponse().read() == body
        seconds = time.monotonic() - start

    assert 0.45 < seconds < 0.7  # up and down again


def test_a_target_that_is_away_resets_and_one_that_hangs_goes_on_when_lifted(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(down=Down.RESET), seed=0, lease=60)
    assert statuses(proxy, 3) == [0, 0, 0]

    proxy.disturb(Disturbance(down=Down.HANG), seed=0, lease=60)
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.extend(statuses(proxy, 1)))
    asking.start()
    asking.join(0.3)
    assert not found

    proxy.undo.apply()
    asking.join(10)

    assert found == [200]
    assert proxy.undo.is_done()


def test_what_is_not_renewed_ends_with_its_lease(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(errors=1.0), seed=0, lease=0.4)
    for _ in range(4):
        time.sleep(0.2)
        proxy.renew()
    assert statuses(proxy, 1) == [503]

    deadline = time.monotonic() + 5
    while not proxy.undo.is_done() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert statuses(proxy, 1) == [200]


def test_an_order_that_is_not_understood_changes_nothing(proxy: Proxy) -> None:
    answer = ask(proxy.control, {"do": "disturb", "disturbance": {"latency": -1}, "lease": 1, "seed": 0})

    assert "latency" in answer["refused"]
    assert proxy.state()["is_clear"]


def test_the_sequence_does_not_shift_with_other_options() -> None:
    alone = Fates(Disturbance(aborts=0.3), random.Random(5).random)
    beside = Fates(Disturbance(aborts=0.3, latency=1.0, jitter=0.2), random.Random(5).random)

    first = [alone.next().answer is Answer.ABORT for _ in range(200)]

    assert first == [beside.next().answer is Answer.ABORT for _ in range(200)]


@contextmanager
def echo(wrap: Callable[[socket.socket], socket.socket]) -> Iterator[str]:
    """A server that sends back what it gets, after a greeting of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line = wrap(server.accept()[0])
            with line:
                line.sendall(b"welcome\n")
                while content := line.recv(65536):
                    line.sendall(content)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


def exchange(line: socket.socket, sent: bytes) -> bytes:
    """Send while receiving, then end our side; return all that came."""
    sender = threading.Thread(target=lambda: (line.sendall(sent), line.shutdown(socket.SHUT_WR)))
    sender.start()
    found = b""
    while content := line.recv(65536):
        found += content
    sender.join()
    return found


def test_any_protocol_passes_byte_for_byte(tmp_path: Path) -> None:
    """Every byte value, a server that speaks first, a half-closed connection."""
    sent = bytes(range(256)) * 4000
    with echo(lambda line: line) as address:
        proxy = Proxy(address, control=tmp_path / "proxy")
        try:
            host, _, port = proxy.address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=20) as line:
                assert exchange(line, sent) == b"welcome\n" + sent
        finally:
            proxy.close()


def test_tls_passes_unread(tmp_path: Path) -> None:
    certificate = generate_self_signed_cert(tmp_path / "certs")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certs" / "ca.pem"))
    with echo(lambda line: serving.wrap_socket(line, server_side=True)) as address:
        proxy = Proxy(address, control=tmp_path / "proxy")
        try:
            host, _, port = proxy.address.rpartition(":")
            with (
                socket.create_connection((host, int(port)), timeout=20) as plain,
                trusting.wrap_socket(plain, server_hostname="localhost") as line,
            ):
                line.sendall(b"x" * 100_000)
                found = b""
                while len(found) < 100_008:
                    found += line.recv(65536)
            assert found == b"welcome\n" + b"x" * 100_000
        finally:
            proxy.close()


def test_a_websocket_passes_through_its_upgrade(tmp_path: Path) -> None:
    def answer(line: ServerConnection) -> None:
        for message in line:
            line.send(message)

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        proxy = Proxy(f"127.0.0.1:{server.socket.getsockname()[1]}", control=tmp_path / "proxy")
        try:
            with connect(f"ws://{proxy.address}/ws") as line:
                for message in ("text", b"\x00\xff" * 50_000, json.dumps([1])):
                    line.send(message)
                    assert line.recv(10) == message
                proxy.disturb(Disturbance(latency=0.2), seed=0, lease=60)
                start = time.monotonic()
                line.send("slow")
                assert line.recv(10) == "slow"
                assert 0.2 <= time.monotonic() - start < 0.3
        finally:
            proxy.close()
            server.shutdown()
            thread.join()
