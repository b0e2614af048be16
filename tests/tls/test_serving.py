"""A server with our context: silent clients delay nobody, a new certificate costs no connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateRefused, InvalidValue
from quadra_matrix.events import fan_out
from quadra_matrix.events.tls import CertificateSwapFailed, CertificateSwapped, HandshakeFailed
from quadra_matrix.testing import FakeClock, RecordingHook
from quadra_matrix.tls.authority import issue_server, local_authority
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.context import CIPHERS, ServerFiles
from quadra_matrix.tls.inspection import inspect_pair
from quadra_matrix.tls.pairs import Pair, replace_pair
from quadra_matrix.tls.serving import ServingContext, in_words
from tests.services.process import accepts, free_port, needs, running, wait_until
from tests.tls.servers import connected, echo_server, echoes, get, rsa_issued, serial_at, trusting, werkzeug_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def pair(folder: Path) -> Pair:
    return generate_self_signed_cert(folder)


@pytest.fixture
def files(pair: Pair) -> ServerFiles:
    return ServerFiles(pair.certificate, pair.key)


@pytest.fixture
def client(files: ServerFiles, folder: Path) -> ssl.SSLContext:
    return trusting(folder / "ca.pem")


@pytest.fixture
def app() -> Flask:
    app = Flask("shop")
    app.add_url_rule("/health", view_func=lambda: "well")
    return app


def renew(folder: Path) -> str:
    """Put another pair in place and return its serial."""
    issued = issue_server(local_authority(folder), ["localhost"], days=30, now=SYSTEM_CLOCK.now())
    pair = replace_pair(folder, certificate=issued.certificate, key=issued.key)
    return inspect_pair(pair.certificate, now=SYSTEM_CLOCK.now()).serial


@contextlib.contextmanager
def silent_clients(port: int, count: int) -> Iterator[None]:
    """Hold connections that never say anything."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            held.enter_context(plain(port))
        yield


def plain(port: int) -> socket.socket:
    """Return a connection that speaks no TLS."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


# The handshake


def test_an_application_answers_over_https(app: Flask, files: ServerFiles, client: ssl.SSLContext) -> None:
    with werkzeug_server(app, ServingContext(files)) as port:
        assert get(port, "/health", client).status == 200


def test_200_silent_clients_delay_nobody(app: Flask, files: ServerFiles, client: ssl.SSLContext) -> None:
    with werkzeug_server(app, ServingContext(files, handshake_timeout=60)) as port, silent_clients(port, 200):
        began = time.monotonic()
        answer = get(port, "/health", client)
        took = time.monotonic() - began

    assert answer.status == 200
    assert took < 1


def test_a_silent_client_is_dropped_at_the_deadline(files: ServerFiles) -> None:
    hook = RecordingHook()
    with echo_server(ServingContext(files, handshake_timeout=0.2, hook=hook)) as port, plain(port) as silent:
        peer = silent.getsockname()
        assert silent.recv(1) == b""

    assert hook.events == [HandshakeFailed(f"127.0.0.1:{peer[1]}", "not done in time")]


def test_a_client_that_drips_its_handshake_is_dropped_too(files: ServerFiles) -> None:
    """The deadline is for the whole handshake, not for each of its reads."""
    hook = RecordingHook()
    with echo_server(ServingContext(files, handshake_timeout=0.5, hook=hook)) as port, plain(port) as dripping:
        dripping.settimeout(0.1)
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200):
            dripping.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                assert dripping.recv(1) == b""
                break

    assert [event.reason for event in hook.of(HandshakeFailed)] == ["not done in time"]


def test_the_deadline_ends_with_the_handshake(files: ServerFiles, client: ssl.SSLContext) -> None:
    with echo_server(ServingContext(files, handshake_timeout=0.3)) as port, connected(port, client) as connection:
        assert echoes(connection)
        connection.settimeout(0.6)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        assert echoes(connection)


def test_plain_text_is_never_read(files: ServerFiles) -> None:
    hook = RecordingHook()
    with echo_server(ServingContext(files, hook=hook)) as port, plain(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1000):
                received += part

    assert b"GET" not in received
    assert [event.reason for event in hook.of(HandshakeFailed)] == ["http request"]


def test_a_failed_connection_stays_failed(files: ServerFiles) -> None:
    ours, theirs = socket.socketpair()
    with ours, ServingContext(files).wrap_socket(theirs, server_side=True) as late:
        ours.sendall(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")

        for _ in range(2):
            with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
                late.recv(100)
        with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
            late.send(b"answer")


def test_a_client_that_left_is_no_surprise(files: ServerFiles) -> None:
    hook = RecordingHook()
    ours, theirs = socket.socketpair()
    late = ServingContext(files, hook=hook).wrap_socket(theirs, server_side=True)
    ours.close()

    with late, pytest.raises(ssl.SSLEOFError):
        late.recv(1)

    assert hook.events == [HandshakeFailed("a local socket", "connection lost")]


def test_a_socket_that_does_not_block_is_left_to_its_loop(files: ServerFiles) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    with ours, ServingContext(files).wrap_socket(theirs, server_side=True) as late:
        with pytest.raises(ssl.SSLWantReadError):
            late.do_handshake()
        with pytest.raises(ssl.SSLWantReadError):
            late.recv(1)


def test_an_event_loop_serves_the_newest_certificate(files: ServerFiles, folder: Path, client: ssl.SSLContext) -> None:
    async def serials() -> tuple[str, str]:
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=ServingContext(files, check_every=0)
        )
        port = server.sockets[0].getsockname()[1]
        before = await asyncio.to_thread(serial_at, port, client)
        renew(folder)
        after = await asyncio.to_thread(serial_at, port, client)
        server.close()
        return before, after

    before, after = asyncio.run(serials())

    assert before != after


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_swaps_and_drops_silent_clients(folder: Path, client: ssl.SSLContext, worker: str) -> None:
    port = free_port()
    config = folder.parent / "gunicorn.conf.py"
    config.write_text(f"""
from pathlib import Path
from quadra_matrix.tls.context import ServerFiles
from quadra_matrix.tls.serving import ServingContext, in_words

certfile, keyfile = {str(folder / "cert.pem")!r}, {str(folder / "key.pem")!r}
context = ServingContext(ServerFiles(Path(certfile), Path(keyfile)), handshake_timeout=0.5)
ssl_context = lambda config, default: context
bind, worker_class, threads, workers = "127.0.0.1:{port}", {worker!r}, 4, 1
""")
    (folder.parent / "shop.py").write_text("from flask import Flask\napp = Flask('shop')\n")
    command = [sys.executable, "-m", "gunicorn", "-c", config, "--chdir", folder.parent, "shop:app"]

    with running(command, log=folder.parent / "log", ready=lambda: accepts(port)), silent_clients(port, 6):
        assert get(port, "/health", client).status == 404
        serial = renew(folder)
        wait_until(lambda: serial_at(port, client) == serial, "the new certificate")


# The certificate


def test_a_new_certificate_is_served_at_once(files: ServerFiles, folder: Path, client: ssl.SSLContext) -> None:
    hook = RecordingHook()
    with echo_server(ServingContext(files, check_every=0, hook=hook)) as port, connected(port, client) as open_before:
        serial = renew(folder)

        assert serial_at(port, client) == serial
        assert echoes(open_before)

    assert [event.serial for event in hook.of(CertificateSwapped)] == [serial]


def test_files_are_looked_at_once_in_a_while(files: ServerFiles, folder: Path) -> None:
    clock = FakeClock(now=SYSTEM_CLOCK.now())
    context = ServingContext(files, check_every=5, clock=clock)
    before = context.current()
    renew(folder)

    assert context.current() is before
    clock.advance(5)
    assert context.current() is not before


def spoil_with_another_key(folder: Path) -> None:
    (folder / "key.pem").write_bytes((folder / "ca-key.pem").read_bytes())


def spoil_with_text(folder: Path) -> None:
    (folder / "cert.pem").write_text("text")


def spoil_by_removal(folder: Path) -> None:
    (folder / "cert.pem").unlink()


def spoil_with_a_past_certificate(folder: Path) -> None:
    issued = issue_server(local_authority(folder), ["localhost"], days=1 / 86400, now=SYSTEM_CLOCK.now() - 60)
    replace_pair(folder, certificate=issued.certificate, key=issued.key)


SPOILERS = [spoil_with_another_key, spoil_with_text, spoil_by_removal, spoil_with_a_past_certificate]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_bad_pair_leaves_the_last_good_one(
    files: ServerFiles,
    folder: Path,
    client: ssl.SSLContext,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = RecordingHook()
    with echo_server(ServingContext(files, check_every=0, hook=fan_out(hook, in_words))) as port:
        good = serial_at(port, client)
        with caplog.at_level(logging.ERROR, "quadra_matrix.tls"):
            spoil(folder)
            seen = {serial_at(port, client) for _ in range(5)}

        assert seen == {good}
        assert len(hook.of(CertificateSwapFailed)) == len(caplog.records) == 1
        assert serial_at(port, client) != renew(folder) == serial_at(port, client)


def test_two_files_that_change_one_after_the_other_are_no_fault(tmp_path: Path, folder: Path) -> None:
    pair = generate_self_signed_cert(folder)
    files = ServerFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(pair.certificate.read_bytes())
    files.key.write_bytes(pair.key.read_bytes())
    hook = RecordingHook()
    context = ServingContext(files, check_every=0, hook=hook)
    serial = renew(folder)

    files.certificate.write_bytes(pair.certificate.read_bytes())
    context.current()
    files.key.write_bytes(pair.key.read_bytes())
    context.current()

    assert [event.serial for event in hook.of(CertificateSwapped)] == [serial]
    assert hook.of(CertificateSwapFailed) == []


@pytest.mark.slow
def test_60_swaps_under_load_fail_no_request(app: Flask, files: ServerFiles, folder: Path) -> None:
    """EC and RSA by turns: loading the other kind into a context that serves would keep the old certificate."""
    authority = local_authority(folder)
    ec = issue_server(authority, ["localhost"], days=30, now=SYSTEM_CLOCK.now())
    kinds = [rsa_issued(authority), ec]
    context = ServingContext(files, check_every=0)
    over, answers, failures = threading.Event(), [], []

    def ask(port: int) -> None:
        trust = trusting(folder / "ca.pem")
        while not over.is_set():
            try:
                answers.append(get(port, "/health", trust).status)
            except OSError as failed:
                failures.append(failed)

    with werkzeug_server(app, context) as port, echo_server(context) as echo, contextlib.ExitStack() as held:
        kept = held.enter_context(connected(echo, trusting(folder / "ca.pem")))
        clients = [threading.Thread(target=ask, args=(port,)) for _ in range(4)]
        for thread in clients:
            thread.start()
        for swap in range(60):
            issued, before = kinds[swap % 2], len(answers)
            pair = replace_pair(folder, certificate=issued.certificate, key=issued.key)
            serial = inspect_pair(pair.certificate, now=SYSTEM_CLOCK.now()).serial
            assert serial_at(port, trusting(folder / "ca.pem")) == serial
            wait_until(lambda before=before: len(answers) > before or bool(failures), "an answer")
        over.set()
        for thread in clients:
            thread.join(60)
        assert echoes(kept)

    assert failures == []
    assert set(answers) == {200}
    assert len(answers) >= 60


def test_a_server_does_not_start_with_files_that_cannot_serve(folder: Path, pair: Pair) -> None:
    with pytest.raises(CertificateRefused, match="the key of another certificate"):
        ServingContext(ServerFiles(pair.certificate, folder / "ca-key.pem"))


def test_a_server_starts_with_an_expired_certificate_and_says_so(
    folder: Path, files: ServerFiles, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_with_a_past_certificate(folder)

    ServingContext(files)

    assert "is served all the same: it expired on" in caplog.text


@pytest.mark.parametrize("options", [{"handshake_timeout": 0}, {"check_every": -1}])
def test_options_that_make_no_sense_are_refused(files: ServerFiles, options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        ServingContext(files, **options)


# What is offered


def test_the_suites_are_those_of_mozilla_intermediate(files: ServerFiles) -> None:
    offered = {suite["name"] for suite in ServingContext(files).current().get_ciphers()}

    assert offered == {
        *CIPHERS,
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
    }


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(files: ServerFiles, client: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    client.minimum_version = client.maximum_version = version
    with echo_server(ServingContext(files)) as port, connected(port, client) as connection:
        assert echoes(connection)


@pytest.mark.parametrize(
    "words", [["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]], ids=str
)
def test_what_is_older_is_refused(files: ServerFiles, words: list[str]) -> None:
    openssl = needs("openssl", "apt-get install openssl")
    with echo_server(ServingContext(files)) as port:
        command = [openssl, "s_client", *words, "-connect", f"127.0.0.1:{port}"]
        answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    assert answer.returncode == 1
    assert "Cipher is (NONE)" in answer.stdout


OPENSSL_CONF = """
openssl_conf = start
[start]
ssl_conf = tls
[tls]
system_default = curves
[curves]
Groups = X25519:P-256:P-384
"""

ECHO = """
import sys
from pathlib import Path
from quadra_matrix.tls.context import ServerFiles
from quadra_matrix.tls.serving import ServingContext, in_words
from tests.tls.servers import echo_server

with echo_server(ServingContext(ServerFiles(Path(sys.argv[1]), Path(sys.argv[2])))) as port:
    print(port, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("configuration", "refuses"), [("", False), (OPENSSL_CONF, True)], ids=["default", "file"])
def test_the_curves_are_limited_by_a_file_of_openssl(
    pair: Pair, tmp_path: Path, configuration: str, refuses: bool
) -> None:
    """This Python cannot set a list of curves; the file that the documentation shows can."""
    openssl = needs("openssl", "apt-get install openssl")
    (tmp_path / "openssl.cnf").write_text(configuration)
    server = subprocess.Popen(
        [sys.executable, "-c", ECHO, pair.certificate, pair.key],
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        command = [openssl, "s_client", "-groups", "X448", "-connect", f"127.0.0.1:{port}"]
        answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    assert ("Cipher is (NONE)" in answer.stdout) is refuses
