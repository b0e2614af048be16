"""The service over TLS, as processes: what Mozilla asks for, renewal without a failed request, silent clients."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from websockets.sync.client import connect

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.tls.authority import issue_client, issue_server, local_authority
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.inspection import inspect_pair
from quadra_matrix.tls.pairs import replace_pair
from quadra_matrix.tls.revocation import revocation_list
from tests.api.test_pages import FLAGS
from tests.service.conftest import REAL, Serve, Submit
from tests.services.process import free_port, needs, wait_until
from tests.tls.scan import scan
from tests.tls.servers import get, rsa_issued, serial_at, trusting

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_self_signed_cert(tmp_path / "certs")
    return tmp_path / "certs"


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        port=free_port(),
        hub_port=free_port(),
        workers=2,
        job_lease_seconds=3.0,
        grace_seconds=8.0,
        tls=True,
        tls_certificate=folder / "cert.pem",
        tls_key=folder / "key.pem",
        tls_redirect_port=free_port(),
    )


@pytest.fixture
def client(folder: Path) -> ssl.SSLContext:
    return trusting(folder / "ca.pem")


def ready(settings: Settings, client: ssl.SSLContext) -> None:
    """Return once a worker answers through the front."""
    wait_until(lambda: get(settings.port, "/health/live", client).status == 200, "the service to answer")


def test_sslyze_finds_nothing_against_mozilla_intermediate(serve: Serve, settings: Settings, folder: Path) -> None:
    with serve():
        for port in (settings.port, settings.hub_port):
            code, said = scan(port, folder / "ca.pem")
            assert (code, "OK - Compliant" in said) == (0, True), said


def test_60_swaps_under_load_fail_no_request_and_keep_a_websocket(
    serve: Serve, settings: Settings, folder: Path, client: ssl.SSLContext, submit: Submit, jobs: SqlJobs
) -> None:
    """EC and RSA by turns, with clients that keep their connection and clients that do not."""
    authority = local_authority(folder)
    ec = issue_server(authority, ["localhost"], days=30, now=SYSTEM_CLOCK.now())
    kinds = [rsa_issued(authority), ec]
    over, answers, failures = threading.Event(), [], []

    def ask(*, keep: bool) -> None:
        connection = http.client.HTTPSConnection("localhost", settings.port, timeout=30, context=client)
        while not over.is_set():
            try:
                connection.request("GET", "/", headers={} if keep else {"Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                answers.append(answer.status)
            except (OSError, http.client.HTTPException) as failed:
                failures.append(failed)
        connection.close()

    with serve(), connect(f"wss://localhost:{settings.hub_port}/ws", ssl=client) as hub:
        ready(settings, client)
        clients = [threading.Thread(target=ask, kwargs={"keep": keep}) for keep in (True, True, False, False)]
        for thread in clients:
            thread.start()
        for swap in range(60):
            issued = kinds[swap % 2]
            pair = replace_pair(folder, certificate=issued.certificate, key=issued.key)
            serial = inspect_pair(pair.certificate, now=SYSTEM_CLOCK.now()).serial
            wait_until(lambda serial=serial: serial_at(settings.port, client) == serial, "the new certificate")  # type: ignore[misc]
        over.set()
        for thread in clients:
            thread.join(60)
        job = submit("quick")
        news = WebSocketMessage.model_validate_json(hub.recv(timeout=30))

    assert failures == []
    assert set(answers) == {200}
    assert len(answers) >= 240
    assert news.data.job == job.id


def test_200_silent_clients_delay_health_by_less_than_a_second(
    serve: Serve, settings: Settings, client: ssl.SSLContext
) -> None:
    with serve(REAL), contextlib.ExitStack() as held:
        ready(settings, client)
        for _ in range(200):
            held.enter_context(socket.create_connection(("127.0.0.1", settings.port), timeout=30))
        began = time.monotonic()
        answer = get(settings.port, "/health", client)
        took = time.monotonic() - began

    assert answer.status in {200, 503}
    assert took < 1


@contextlib.contextmanager
def plain(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    yield connection
    connection.close()


def test_plain_http_is_sent_to_https_and_every_answer_has_the_headers(
    serve: Serve, settings: Settings, client: ssl.SSLContext
) -> None:
    assert settings.tls_redirect_port is not None
    with serve(REAL):
        ready(settings, client)
        with plain(settings.tls_redirect_port) as connection:
            connection.request("POST", "/api/predict?a=1", body=b"{}")
            redirected = connection.getresponse()
        answers = [get(settings.port, path, client) for path in ("/health", "/nowhere", "/a#b")]
        answers.append(get(settings.hub_port, "/nowhere", client))

    assert redirected.status == 308
    assert redirected.headers["Location"] == f"https://localhost:{settings.port}/api/predict?a=1"
    assert [answer.status for answer in answers[1:]] == [404, 400, 404]
    for answer in (redirected, *answers):
        assert answer.headers.get_all("X-Frame-Options") == ["DENY"]
        assert len(answer.headers.get_all("Content-Security-Policy") or []) == 1


def test_the_service_sees_its_clients_not_its_front(serve: Serve, settings: Settings, client: ssl.SSLContext) -> None:
    """This machine may operate the service without a key: also through the front, not through a proxy."""
    with serve(REAL):
        ready(settings, client)
        connection = http.client.HTTPSConnection("localhost", settings.port, timeout=30, context=client)
        statuses = []
        for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}, {"X-Quadra-Front": "https 203.0.113.9 1"}):
            connection.request("GET", "/admin/circuit-breakers", headers=headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()

    assert statuses == [200, 401, 200]


def test_a_stop_ends_every_process_and_its_sockets(serve: Serve, settings: Settings, client: ssl.SSLContext) -> None:
    with serve() as service, socket.create_connection(("127.0.0.1", settings.port)):
        ready(settings, client)
        began = time.monotonic()
        service.process.terminate()
        code = service.process.wait(settings.grace_seconds)

    assert code == 0
    assert time.monotonic() - began < settings.grace_seconds - 1


def test_a_client_without_a_certificate_is_counted(
    serve: Serve, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    """The front is a process of its own; what it counts stands among the numbers of the service."""
    asking = {"QUADRA_TLS_CLIENT_CA": str(folder / "ca.pem"), "QUADRA_TLS_CLIENT_CRL": str(revocation_list(folder))}
    made = issue_client(local_authority(folder), "billing", days=1, now=SYSTEM_CLOCK.now())
    (folder / "client.pem").write_bytes(made.certificate + made.key)
    known, unknown = trusting(folder / "ca.pem"), trusting(folder / "ca.pem")
    known.load_cert_chain(folder / "client.pem")

    with serve(REAL, **asking):
        ready(settings, known)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(settings.port, "/health/live", unknown)
        connection = http.client.HTTPSConnection("localhost", settings.port, timeout=30, context=known)
        connection.request("GET", "/metrics")
        numbers = connection.getresponse().read().decode()
        connection.close()

    assert 'quadra_tls_client_refusals_total{reason="peer did not return a certificate"} 1.0' in numbers
    assert "was refused, its certificate none is for none" in (tmp_path / "serve.log").read_text()


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc", "/api/asyncapi"])
def test_a_browser_has_nothing_to_complain_about(
    serve: Serve, settings: Settings, client: ssl.SSLContext, path: str
) -> None:
    program = needs("chromium", "apt-get install chromium")
    complaints: list[str] = []
    with serve(REAL), sync_playwright() as playwright:
        ready(settings, client)
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, headless=True)
        page = browser.new_page(ignore_https_errors=True)
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"https://localhost:{settings.port}{path}")
        page.get_by_text("Quadra Matrix").first.wait_for(timeout=30_000)
        browser.close()

    assert complaints == []
