"""Clients with certificates: who gets in, who they are, what is said of those that do not."""

from __future__ import annotations

import base64
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from cryptography import x509
from flask import Flask, g

from quadra_matrix.cli import main
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateRefused, InvalidValue
from quadra_matrix.events import fan_out
from quadra_matrix.events.tls import CertificateSwapFailed, ClientCertificateRefused
from quadra_matrix.testing import RecordingHook
from quadra_matrix.tls.authority import issue_client, issue_server, local_authority
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.clients import NO_CERTIFICATE, identity, subject_and_serial
from quadra_matrix.tls.context import ClientFiles, ServerFiles
from quadra_matrix.tls.flask import setup_tls
from quadra_matrix.tls.passing import CLIENT_CERTIFICATE
from quadra_matrix.tls.revocation import REVOKED, revocation_list, revoke
from quadra_matrix.tls.serving import ServingContext, in_words
from tests.tls.fronts import front
from tests.tls.servers import connected, echo_server, echoes, get, trusting, werkzeug_server

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_self_signed_cert(tmp_path / "certs")
    revocation_list(tmp_path / "certs")
    return tmp_path / "certs"


def files(folder: Path, *, required: bool = True) -> ServerFiles:
    clients = ClientFiles(folder / "ca.pem", folder / REVOKED, required)
    return ServerFiles(folder / "cert.pem", folder / "key.pem", clients)


def issued(folder: Path, name: str, days: float = 30) -> Path:
    """Return one file with a client's certificate and key."""
    made = issue_client(local_authority(folder), name, days=days, now=SYSTEM_CLOCK.now())
    path = folder / f"{name}.client"
    path.write_bytes(made.certificate + made.key)
    return path


def serial_of(client: Path) -> int:
    return x509.load_pem_x509_certificate(client.read_bytes()).serial_number


def der(client: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(client.read_text().partition("-----BEGIN PRIVATE")[0])


def showing(folder: Path, client: Path | None = None, version: ssl.TLSVersion = VERSIONS[1]) -> ssl.SSLContext:
    """Return the context of a client that shows a certificate."""
    context = trusting(folder / "ca.pem")
    context.minimum_version = context.maximum_version = version
    if client is not None:
        context.load_cert_chain(client)
    return context


def is_let_in(port: int, context: ssl.SSLContext) -> bool:
    """Tell whether the server answers: under TLS 1.3 a refused client learns of it with its first read."""
    with contextlib.suppress(ssl.SSLError, ConnectionError), connected(port, context) as client:
        return echoes(client)
    return False


# Who gets in


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_the_authority_gets_in(folder: Path, version: ssl.TLSVersion) -> None:
    with echo_server(ServingContext(files(folder))) as port:
        assert is_let_in(port, showing(folder, issued(folder, "billing"), version))


def a_revoked_one(folder: Path) -> Path:
    client = issued(folder, "mallory")
    revoke(folder, serial_of(client))
    return client


def an_expired_one(folder: Path) -> Path:
    return issued(folder, "mallory", days=1e-9)


def a_stranger(folder: Path) -> Path:
    local_authority(folder / "other")
    return issued(folder / "other", "mallory")


def a_server(folder: Path) -> Path:
    made = issue_server(local_authority(folder), ["mallory.test"], days=3, now=SYSTEM_CLOCK.now())
    (folder / "server.client").write_bytes(made.certificate + made.key)
    return folder / "server.client"


REFUSED = [
    (a_revoked_one, "certificate revoked"),
    (an_expired_one, "certificate has expired"),
    (a_stranger, "unable to get local issuer certificate"),
    (a_server, "unsuitable certificate purpose"),
]


@pytest.mark.parametrize("required", [True, False], ids=["required", "optional"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_a_refusal_says_whom_and_why(
    folder: Path,
    make: Callable[[Path], Path],
    reason: str,
    version: ssl.TLSVersion,
    required: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, hook = make(folder), RecordingHook()
    with echo_server(ServingContext(files(folder, required=required), hook=fan_out(hook, in_words))) as port:
        assert not is_let_in(port, showing(folder, client, version))

    event = hook.of(ClientCertificateRefused)[0]
    assert (event.fault, event.serial) == (reason, f"{serial_of(client):x}")
    assert "mallory" in event.subject
    said = caplog.records[-1]
    assert said.levelno == logging.WARNING
    assert all(part in said.getMessage() for part in (event.peer, event.subject, event.serial, reason))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_a_certificate_is_refused_where_one_is_required(folder: Path, version: ssl.TLSVersion) -> None:
    hook = RecordingHook()
    with echo_server(ServingContext(files(folder), hook=hook)) as port:
        assert not is_let_in(port, showing(folder, None, version))
    with echo_server(ServingContext(files(folder, required=False), hook=hook)) as port:
        assert is_let_in(port, showing(folder, None, version))

    refused = hook.of(ClientCertificateRefused)
    assert [(event.fault, event.subject, event.serial) for event in refused] == [(NO_CERTIFICATE, "none", "none")]


def test_the_front_refuses_and_says_so_too(folder: Path) -> None:
    hook, client = RecordingHook(), a_revoked_one(folder)
    with front(files(folder), hook=hook) as running:
        assert not is_let_in(running.https, showing(folder, client))
        assert not is_let_in(running.https, showing(folder))
        with connected(running.https, showing(folder, issued(folder, "billing"))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(100)
        told = bytes(running.received).partition(b"X-Quadra-Front: ")[2].split()[3]

    assert [event.fault for event in hook.of(ClientCertificateRefused)] == ["certificate revoked", NO_CERTIFICATE]
    assert identity(base64.b64decode(told)).name == "billing"


def test_a_revocation_counts_at_once_and_for_new_connections(folder: Path) -> None:
    client = issued(folder, "billing")
    with (
        echo_server(ServingContext(files(folder), check_every=0)) as port,
        connected(port, showing(folder, client)) as before,
    ):
        assert echoes(before)
        assert revoke(folder, serial_of(client))
        assert not is_let_in(port, showing(folder, client))
        assert is_let_in(port, showing(folder, issued(folder, "other")))
        assert echoes(before)


def test_a_client_cannot_resume_past_its_revocation(folder: Path) -> None:
    """A ticket would be accepted without a look at the certificate."""
    client = issued(folder, "billing")
    context = showing(folder, client)
    with echo_server(ServingContext(files(folder))) as port:
        with connected(port, context) as connection:
            assert echoes(connection)
            session = connection.session
        assert session is None or not session.has_ticket


@pytest.mark.parametrize("spoilt", [b"", b"text", None], ids=["empty", "text", "missing"])
def test_a_spoilt_revocation_list_leaves_the_last_good_one(folder: Path, spoilt: bytes | None) -> None:
    hook, client = RecordingHook(), a_revoked_one(folder)
    with echo_server(ServingContext(files(folder), check_every=0, hook=hook)) as port:
        if spoilt is None:
            (folder / REVOKED).unlink()
        else:
            (folder / REVOKED).write_bytes(spoilt)
        for _ in range(3):
            assert not is_let_in(port, showing(folder, client))
            assert is_let_in(port, showing(folder, issued(folder, "billing")))

    assert len(hook.of(CertificateSwapFailed)) == 1


@pytest.mark.parametrize("missing", ["ca", "crl"])
def test_a_server_does_not_start_without_what_it_verifies_with(folder: Path, missing: str) -> None:
    empty = folder / "empty.pem"
    empty.write_text("")
    clients = ClientFiles(empty if missing == "ca" else folder / "ca.pem", empty if missing == "crl" else None)

    with pytest.raises(CertificateRefused, match=r"empty\.pem: "):
        ServingContext(ServerFiles(folder / "cert.pem", folder / "key.pem", clients))


# Who they are


def shop(**options: Any) -> Flask:
    app = Flask("shop")

    @app.get("/")
    def who() -> dict[str, Any]:
        found = g.client_identity
        return {"name": found and found.name, "serial": found and found.serial}

    setup_tls(app, redirect=False, **options)
    return app


def test_werkzeug_tells_who_the_client_is(folder: Path) -> None:
    app, client = shop(identify_clients=True), issued(folder, "billing")
    config = setup_tls(Flask("other"))
    context = config.create_ssl_context(
        folder / "cert.pem", folder / "key.pem", client_ca=folder / "ca.pem", client_crl=folder / REVOKED
    )

    seen: list[Any] = []
    app.after_request(lambda answer: seen.append(answer.get_json()) or answer)
    with werkzeug_server(app, context) as port:
        assert get(port, "/", showing(folder, client)).status == 200

    assert seen == [{"name": "billing", "serial": f"{serial_of(client):x}"}]


def test_behind_the_front_the_client_is_known(folder: Path) -> None:
    held = base64.b64encode(der(issued(folder, "billing"))).decode()

    answer = shop(identify_clients=True).test_client().get("/", environ_base={CLIENT_CERTIFICATE: held})

    assert answer.get_json()["name"] == "billing"


def test_gunicorn_tells_who_the_client_is(folder: Path) -> None:
    app = shop(identify_clients=True)
    with echo_server(ServingContext(files(folder))) as port, connected(port, trusting(folder / "ca.pem")) as other:
        # The server's side of a connection has a certificate of its peer; so has the client's.
        answer = app.test_client().get("/", environ_base={"gunicorn.socket": other})

    assert answer.get_json()["name"] == "localhost"


def passed_on(client: Path, form: str) -> str:
    if form == "rfc 9440":
        return f":{base64.b64encode(der(client)).decode()}:"
    return quote(ssl.DER_cert_to_PEM_cert(der(client)))


@pytest.mark.parametrize("form", ["rfc 9440", "nginx"])
def test_a_trusted_proxy_passes_the_client_on(folder: Path, form: str) -> None:
    app = shop(trusted_hops=1, client_header="Client-Cert")
    value = passed_on(issued(folder, "billing"), form)

    assert app.test_client().get("/", headers={"Client-Cert": value}).get_json()["name"] == "billing"
    assert app.test_client().get("/").get_json()["name"] is None


@pytest.mark.parametrize("value", ["text", "::", ":AAAA:", ":%%:", "%ff", "-----BEGIN CERTIFICATE-----"])
def test_a_broken_header_is_a_400(value: str) -> None:
    app = shop(trusted_hops=1, client_header="Client-Cert")

    assert app.test_client().get("/", headers={"Client-Cert": value}).status_code == 400


def test_nobody_else_passes_a_client_on(folder: Path) -> None:
    value = passed_on(issued(folder, "billing"), "rfc 9440")

    answer = shop(identify_clients=True).test_client().get("/", headers={"Client-Cert": value})

    assert answer.get_json()["name"] is None
    with pytest.raises(InvalidValue, match="client_header"):
        setup_tls(Flask("shop"), client_header="Client-Cert")


def test_an_identity_says_what_the_certificate_says(folder: Path) -> None:
    client = issued(folder, "Ada Lovelace")

    found = identity(der(client))

    assert (found.name, found.subject) == ("Ada Lovelace", "CN=Ada Lovelace")
    assert found.serial == f"{serial_of(client):x}"
    assert found.names == ()
    assert "Quadra Matrix local CA" in found.issuer
    assert identity(ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())).names[0] == "localhost"


def test_the_log_says_one_line_of_any_certificate() -> None:
    assert subject_and_serial(None) == ("none", "none")
    assert subject_and_serial(b"no certificate") == ("unreadable", "unreadable")


# The commands


def run(*words: str) -> str:
    ran = CliRunner().invoke(main, ["certs", *words])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_a_certificate_is_issued_and_revoked_by_command(folder: Path) -> None:
    run("issue", "billing", "--cert-dir", str(folder))
    pair = folder / "clients" / "billing"
    client = folder / "both.pem"
    client.write_bytes((pair / "cert.pem").read_bytes() + (pair / "key.pem").read_bytes())

    with echo_server(ServingContext(files(folder), check_every=0)) as port:
        assert is_let_in(port, showing(folder, client))
        assert "revoked_now: True" in run("revoke", str(pair / "cert.pem"), "--cert-dir", str(folder))
        assert not is_let_in(port, showing(folder, client))
    assert "revoked_now: False" in run("revoke", f"{serial_of(client):X}", "--cert-dir", str(folder))
    assert (pair / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_serial_that_is_none_is_refused(folder: Path) -> None:
    ran = CliRunner().invoke(main, ["certs", "revoke", "nothing", "--cert-dir", str(folder)])

    assert ran.exit_code == 2


@pytest.mark.parametrize("name", ["", " a", "a/b", "../a", "a\nb", "a" * 65, "."])
def test_a_name_that_is_no_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidValue, match="name"):
        issue_client(local_authority(folder), name, days=1, now=SYSTEM_CLOCK.now())


def test_a_name_outside_the_authority_s_limits_is_refused(folder: Path) -> None:
    with pytest.raises(CertificateRefused, match="leave the dots out"):
        issue_client(local_authority(folder), "shop.example.com", days=1, now=SYSTEM_CLOCK.now())
    with echo_server(ServingContext(files(folder))) as port:
        assert is_let_in(port, showing(folder, issued(folder, "billing.internal")))
        assert is_let_in(port, showing(folder, issued(folder, "ada@example.com")))


@pytest.mark.parametrize("spoilt", ["text", "foreign"])
def test_a_list_that_is_not_ours_is_not_written_over(folder: Path, spoilt: str) -> None:
    local_authority(folder / "other")
    foreign = revocation_list(folder / "other").read_bytes()
    (folder / REVOKED).write_bytes(b"text" if spoilt == "text" else foreign)

    with pytest.raises(CertificateRefused, match=REVOKED):
        revoke(folder, 1)
