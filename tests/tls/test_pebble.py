"""Certificates from a real certificate authority, from nothing to a renewed one, each way a challenge is answered."""

from __future__ import annotations

import json
import multiprocessing
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import make_server

from quadra_matrix.cli import main
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateNotIssued, TermsNotAgreed
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.certificates import SqlCertificates
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.tls.flask import TLSConfig, setup_tls
from quadra_matrix.tls.inspection import inspect_pair
from quadra_matrix.tls.ordering import OrderOptions
from quadra_matrix.tls.renewal import Standing
from quadra_matrix.tls.renewer import Renewer
from quadra_matrix.tls.sealed import Sealed
from quadra_matrix.tls.shelf import Shelf
from tests.services.pebble import FORBIDDEN, Pebble, pebble_server
from tests.services.process import free_port, wait_until
from tests.tls.servers import echo_server, serial_at, trusting

DOMAIN = "shop.example.test"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble_server(tmp_path_factory.mktemp("pebble")) as server:
        yield server


def order(pebble: Pebble, **options: object) -> OrderOptions:
    asked = {
        "directory": pebble.directory, "roots": pebble.roots, "agree_to_terms": True,
        "http_port": pebble.http_port, "http_address": "127.0.0.1", "domain": DOMAIN, **options,
    }  # fmt: skip
    return OrderOptions(email="ops@example.test", **asked)  # type: ignore[arg-type]


def renewer(pebble: Pebble, folder: Path, **options: object) -> Renewer:
    return Renewer(order(pebble, **options), folder / "pair", Shelf(folder / "shelf"))


def serial_in(folder: Path) -> str:
    return inspect_pair(folder / "cert.pem", folder / "key.pem", now=SYSTEM_CLOCK.now()).serial


# The stand-alone port


def test_a_certificate_is_issued_and_vouched_for(pebble: Pebble, tmp_path: Path) -> None:
    names = (DOMAIN, "www.example.test")

    certificate, key = renewer(pebble, tmp_path, also=names).obtain()

    found = inspect_pair(certificate, key, names=names, roots=pebble.issuer(tmp_path), now=SYSTEM_CLOCK.now())
    assert (found.faults, found.key, len(found.chain)) == ((), "EC secp256r1", 1)
    assert pebble.status(found.serial)["Status"] == "Valid"


def test_no_key_is_ever_wider_than_0600(pebble: Pebble, tmp_path: Path) -> None:
    renewer(pebble, tmp_path).obtain()

    held = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    private = {name: mode for name, mode in held.items() if name == "key.pem" or name.endswith((".entry", ".lease"))}
    assert len(private) == 5
    assert set(private.values()) == {0o600}


def test_a_renewal_uses_the_same_account(pebble: Pebble, tmp_path: Path) -> None:
    first = renewer(pebble, tmp_path)
    first.obtain()
    accounts, before = pebble.counted("accounts in memory"), serial_in(tmp_path / "pair")

    renewer(pebble, tmp_path, agree_to_terms=False).obtain(force=True)

    assert pebble.counted("accounts in memory") == accounts
    assert serial_in(tmp_path / "pair") != before


def test_it_has_no_opinion_on_renewals(pebble: Pebble, tmp_path: Path) -> None:
    """Then two thirds of the life count, and it is asked again after hours."""
    kept = renewer(pebble, tmp_path)
    kept.obtain()

    outcome = kept.look()

    status = kept.status()
    assert (outcome.issued, outcome.wait, status.window) == (False, 3600.0, None)
    assert status.standing is Standing.GOOD


def test_most_nonces_may_be_refused(tmp_path: Path) -> None:
    (tmp_path / "pebble").mkdir(mode=0o700)
    with pebble_server(tmp_path / "pebble", PEBBLE_WFE_NONCEREJECT="50") as server:
        assert renewer(server, tmp_path).obtain().certificate.exists()


def test_a_rejected_order_says_why(pebble: Pebble, tmp_path: Path) -> None:
    with pytest.raises(CertificateNotIssued, match=FORBIDDEN):
        renewer(pebble, tmp_path, domain=FORBIDDEN).obtain()


def test_terms_that_nobody_agreed_to_are_named(pebble: Pebble, tmp_path: Path) -> None:
    with pytest.raises(TermsNotAgreed, match="read the terms of service at data:text/plain"):
        renewer(pebble, tmp_path, agree_to_terms=False).obtain()


def test_an_authority_that_is_not_vouched_for_is_not_trusted(pebble: Pebble, tmp_path: Path) -> None:
    with pytest.raises(CertificateNotIssued, match="certificate verify failed"):
        renewer(pebble, tmp_path, roots=None).obtain()


def test_a_challenge_that_nobody_answers_keeps_the_old_certificate(pebble: Pebble, tmp_path: Path) -> None:
    renewer(pebble, tmp_path).obtain()
    before = serial_in(tmp_path / "pair")
    deaf = renewer(pebble, tmp_path, http_port=free_port())

    with pytest.raises(CertificateNotIssued, match=f"{DOMAIN} was not validated: .*connection refused"):
        deaf.obtain(force=True)

    assert serial_in(tmp_path / "pair") == before
    assert (deaf.status().attempts.failures, deaf.status().standing) == (1, Standing.GOOD)


# The application


def setup(pebble: Pebble, app: Flask, folder: Path, **options: object) -> TLSConfig:
    config = setup_tls(app)
    asked = {"agree_to_terms": True, "http_port": None, **options}
    config.setup_letsencrypt(
        DOMAIN, "ops@example.test", cert_dir=folder, directory=pebble.directory, roots=pebble.roots, **asked
    )  # type: ignore[arg-type]
    return config


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadra_matrix.tls.flask.START_OF_SERVER", 0.5)


@pytest.mark.usefixtures("at_once")
def test_the_application_answers_for_itself(pebble: Pebble, tmp_path: Path) -> None:
    """A certificate of its own stands in, so that the server can start before the authority asks it."""
    app = Flask("shop")
    config = setup(pebble, app, tmp_path)
    server = make_server("127.0.0.1", pebble.http_port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    stand_in = serial_in(tmp_path / DOMAIN)
    try:
        with echo_server(config.create_ssl_context()) as port:
            wait_until(lambda: serial_in(tmp_path / DOMAIN) != stand_in, "the certificate")
            client = trusting(pebble.issuer(tmp_path))
            client.check_hostname = False
            wait_until(lambda: is_trusted(port, client), "the server to swap")
    finally:
        config.close()
        server.shutdown()
        thread.join(30)
        server.server_close()


def is_trusted(port: int, client: ssl.SSLContext) -> bool:
    try:
        return bool(serial_at(port, client))
    except ssl.SSLCertVerificationError:
        return False


def test_the_promised_call_returns_the_pair(pebble: Pebble, tmp_path: Path) -> None:
    config = setup(pebble, Flask("shop"), tmp_path, http_port=pebble.http_port, http_address="127.0.0.1")

    again = setup_tls(Flask("shop"))
    cert, key = again.setup_letsencrypt(
        DOMAIN, "ops@example.test", cert_dir=tmp_path, directory=pebble.directory, roots=pebble.roots, renew=False
    )
    config.close()

    assert inspect_pair(cert, key, names=[DOMAIN], now=SYSTEM_CLOCK.now()).faults == ()


def test_only_challenges_are_answered_and_only_those_that_run(pebble: Pebble, tmp_path: Path) -> None:
    app = Flask("shop")
    config = setup(pebble, app, tmp_path)
    shelf = Shelf(tmp_path / "acme")
    shelf.write("answer-0123456789abcdef", b"proof")
    client = app.test_client()
    config.close()

    answers = [
        client.get(f"/.well-known/acme-challenge/{token}", base_url=f"http://{DOMAIN}")
        for token in ("0123456789abcdef", "0123456789abcdeg", "..%2Forders", "short")
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 404, 404]
    assert (answers[0].data, answers[0].headers["X-Content-Type-Options"]) == (b"proof", "nosniff")
    posted = client.post("/.well-known/acme-challenge/0123456789abcdef", base_url=f"http://{DOMAIN}")
    assert posted.status_code == 404


# Several processes and hosts


def obtain_in_a_process(options: OrderOptions, folder: Path, url: str | None) -> None:
    if url is None:
        Renewer(options, folder / "pair", Shelf(folder / "shelf")).obtain()
        return
    with closing(Database(url)) as database:
        Renewer(options, folder / "pair", Sealed(SqlCertificates(database), b"s" * 32)).obtain()


def run_at_once(works: list[Callable[[], None]]) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(works)


@pytest.mark.slow
def test_workers_of_one_host_place_one_order(pebble: Pebble, tmp_path: Path) -> None:
    orders = pebble.counted("Issued certificate")

    run_at_once([partial(obtain_in_a_process, order(pebble), tmp_path, None)] * 2)

    assert pebble.counted("Issued certificate") == orders + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_hosts_that_share_a_database_place_one_order(
    pebble: Pebble, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'quadra.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create_database("hosts_of_one_name")
    orders = pebble.counted("Issued certificate")
    with closing(Database(url)) as database:
        all_tables().create_all(database.engine)

        run_at_once([partial(obtain_in_a_process, order(pebble), tmp_path / host, url) for host in ("one", "two")])

        with database.read() as connection:
            held = connection.exec_driver_sql("SELECT content FROM certificate_entries").scalars().all()
    assert pebble.counted("Issued certificate") == orders + 1
    assert serial_in(tmp_path / "one" / "pair") == serial_in(tmp_path / "two" / "pair")
    assert not any(b"PRIVATE" in bytes(content) or b"CERTIFICATE" in bytes(content) for content in held)


# Commands


def quadra(*words: object) -> Result:
    return CliRunner().invoke(main, ["certs", *map(str, words)])


def ask(pebble: Pebble, folder: Path, *words: object) -> Result:
    return quadra(
        "letsencrypt", DOMAIN, "--email", "ops@example.test", "--cert-dir", folder, "--directory", pebble.directory,
        "--roots", pebble.roots, "--http-port", pebble.http_port, "--http-address", "127.0.0.1", "--json", *words,
    )  # fmt: skip


def test_a_command_gets_a_certificate_and_another_renews_it(pebble: Pebble, tmp_path: Path) -> None:
    refused = ask(pebble, tmp_path / "certs")
    assert (refused.exit_code, "--agree" in refused.stderr) == (1, True)

    made = json.loads(ask(pebble, tmp_path / "certs", "--agree").stdout)
    assert (made["names"], made["renew_at"] < made["expires"]) == ([DOMAIN], True)
    first = serial_in(tmp_path / "certs" / DOMAIN)

    kept = json.loads(quadra("renew", "--cert-dir", tmp_path / "certs", "--json").stdout)
    assert [(row["domain"], row["done"], row["reason"]) for row in kept] == [(DOMAIN, "kept", None)]
    assert serial_in(tmp_path / "certs" / DOMAIN) == first

    renewed = quadra("renew", "--cert-dir", tmp_path / "certs", "--force")
    assert (renewed.exit_code, "renewed" in renewed.stdout) == (0, True)
    assert serial_in(tmp_path / "certs" / DOMAIN) != first


def test_a_renewal_that_failed_is_said_and_the_others_go_on(pebble: Pebble, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    ask(pebble, folder, "--agree")
    (folder / "broken.example.test").mkdir(mode=0o700)
    told = json.loads((folder / DOMAIN / "order.json").read_text())
    told.update(domain="broken.example.test", directory=f"https://localhost:{free_port()}/dir")
    (folder / "broken.example.test" / "order.json").write_text(json.dumps(told))

    result = quadra("renew", "--cert-dir", folder, "--json")

    rows = {row["domain"]: row["done"] for row in json.loads(result.stdout)}
    assert (result.exit_code, rows) == (1, {"broken.example.test": "failed", DOMAIN: "kept"})
    assert "not renewed: broken.example.test" in result.stderr


def test_an_order_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / DOMAIN).mkdir()
    (tmp_path / DOMAIN / "order.json").write_text("{}")

    result = quadra("renew", "--cert-dir", tmp_path)

    assert (result.exit_code, "order.json: the order cannot be read" in result.stderr) == (1, True)
