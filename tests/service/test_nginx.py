"""nginx, configured by us, in front of the real service."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from quadra_matrix.service.access.wiring import keyring_of
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.nginx import Site, nginx_configuration
from tests.service.conftest import REAL, Serve, Submit
from tests.service.test_security_headers import ONCE
from tests.services.process import accepts, free_port, needs, running
from tests.tls.scan import scan
from tests.tls.servers import trusting

pytestmark = pytest.mark.slow

LARGEST = 100_000


@dataclass(frozen=True)
class Ports:
    https: int
    http: int


@pytest.fixture
def ports() -> Ports:
    return Ports(free_port(), free_port())


@pytest.fixture
def settings(tmp_path: Path, ports: Ports) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        port=free_port(),
        hub_port=free_port(),
        workers=1,
        job_lease_seconds=3.0,
        grace_seconds=8.0,
        trusted_hops=1,
        tls_hsts_seconds=60,
        allowed_origins=(f"https://localhost:{ports.https}",),
    )


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    return trusting(generate_self_signed_cert(tmp_path / "certs").certificate.with_name("ca.pem"))


@pytest.fixture
def nginx(tmp_path: Path, settings: Settings, ports: Ports, client: ssl.SSLContext) -> Iterator[Ports]:
    program = needs("nginx", "apt-get install nginx-light")
    site = Site(
        names=["localhost"],
        certificate=tmp_path / "certs" / "cert.pem",
        key=tmp_path / "certs" / "key.pem",
        has_ocsp=False,
        service=f"127.0.0.1:{settings.port}",
        hub=f"127.0.0.1:{settings.hub_port}",
        port=ports.https,
        redirect_port=ports.http,
        max_upload_bytes=LARGEST,
    )
    text = nginx_configuration(site, whole=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    ours = "" if os.geteuid() == 0 else "".join(f"{kind}_temp_path {tmp_path / kind}; " for kind in kinds)
    path = tmp_path / "nginx.conf"
    path.write_text(text.replace("http {", f"http {{ access_log off; {ours}", 1))
    command = [program, "-c", path, "-e", tmp_path / "error.log", "-g", f"daemon off; pid {tmp_path}/nginx.pid;"]
    with running(command, log=tmp_path / "nginx.log", ready=lambda: accepts(ports.https)):
        yield ports


def ask(
    port: int, path: str, client: ssl.SSLContext | None, method: str = "GET", body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    connection = (
        http.client.HTTPConnection("localhost", port, timeout=30)
        if client is None
        else http.client.HTTPSConnection("localhost", port, timeout=30, context=client)
    )
    connection.request(method, path, body=body, headers={name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def counts(answer: http.client.HTTPResponse) -> dict[str, int]:
    return {name: len(answer.headers.get_all(name) or []) for name in ONCE}


def test_the_service_is_served(serve: Serve, nginx: Ports, client: ssl.SSLContext, tmp_path: Path) -> None:
    with serve(REAL):
        asked = [
            (200, ask(nginx.https, "/health/live", client)),
            (200, ask(nginx.https, "/api/docs", client)),
            (404, ask(nginx.https, "/nowhere", client)),
            (413, ask(nginx.https, "/api/datasets", client, "POST", b"x" * (LARGEST + 1))),
            (400, ask(nginx.https, "/health/live", client, Host="a b")),
        ]
        redirected = ask(nginx.http, "/api/predict?a=1", None, "POST", b"{}")
        challenge = ask(nginx.http, "/.well-known/acme-challenge/token", None)
        code, said = scan(nginx.https, tmp_path / "certs" / "ca.pem")
    down = ask(nginx.https, "/health/live", client)

    assert [answer.status for _, answer in asked] == [status for status, _ in asked]
    for _, answer in [*asked, (502, down)]:
        assert counts(answer) == dict.fromkeys(ONCE, 1)
    assert down.status == 502
    assert asked[0][1].headers["Strict-Transport-Security"] == "max-age=60", "the service's own headers win"
    assert redirected.status == 308
    assert redirected.headers["Location"] == f"https://localhost:{nginx.https}/api/predict?a=1"
    assert counts(redirected) == dict.fromkeys(ONCE, 1) | {"Strict-Transport-Security": 0}
    assert (challenge.status, challenge.headers["Content-Type"]) == (404, "application/problem+json")
    assert (code, "OK - Compliant" in said) == (0, True), said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(nginx: Ports, client: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    client.minimum_version = client.maximum_version = version

    assert ask(nginx.https, "/", client).status == 502


def test_a_cached_page_keeps_its_policy(serve: Serve, nginx: Ports, client: ssl.SSLContext) -> None:
    with serve(REAL):
        path = "/api/docs/own/pages.css"
        tag = ask(nginx.https, path, client).headers["ETag"]
        answer = ask(nginx.https, path, client, If_None_Match=tag)

    assert answer.status == 304
    assert counts(answer)["Content-Security-Policy"] == 0


def test_the_hub_is_reached_on_the_same_port(
    serve: Serve, nginx: Ports, client: ssl.SSLContext, settings: Settings, submit: Submit
) -> None:
    address, origin = f"wss://localhost:{nginx.https}/ws", Origin(f"https://localhost:{nginx.https}")
    database = Database(settings.database_url)
    key = keyring_of(settings, database).create("test", ["read"])[1]
    database.close()

    with serve(), connect(address, ssl=client, origin=origin, additional_headers={"X-API-Key": key}) as hub:
        job = submit("quick")
        news = WebSocketMessage.model_validate_json(hub.recv(timeout=30))

    assert news.data.job == job.id


def test_a_client_cannot_speak_for_nginx(serve: Serve, nginx: Ports, client: ssl.SSLContext) -> None:
    """Who operates the service without a key must be on its machine; what came through a proxy is not."""
    with serve(REAL):
        answer = ask(nginx.https, "/admin/circuit-breakers", client, X_Forwarded_For="127.0.0.1")

    assert answer.status == 401
