"""The service's certificate comes from an authority: one order a service, challenges answered by any worker."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from quadra_matrix.service.app import create_app
from quadra_matrix.service.certificates import shared_entries
from quadra_matrix.service.checks import renewed
from quadra_matrix.service.health import Finding, State
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.testing import FakeClock
from quadra_matrix.tls.challenges import PREFIX, entry_of
from quadra_matrix.tls.ordering import LETS_ENCRYPT
from quadra_matrix.tls.renewal import NO_ATTEMPTS, Attempts, Standing
from quadra_matrix.tls.renewer import Status
from tests.service.conftest import REAL, Serve
from tests.services.pebble import Pebble, pebble_server
from tests.services.process import free_port, wait_until
from tests.tls.servers import get, trusting

DOMAIN = "shop.example.test"
SECRET = "0123456789abcdef" * 4


def options(folder: Path, **given: object) -> Settings:
    asked = {
        "data_dir": folder, "secret_key": SECRET, "acme_email": "ops@example.test", "acme_agree": True,
        "acme_names": (DOMAIN, "www.example.test"), **given,
    }  # fmt: skip
    return Settings(**asked)  # type: ignore[arg-type]


# Options


def test_the_options_make_an_order(tmp_path: Path) -> None:
    settings = options(tmp_path, acme_profile="shortlived")

    order = settings.acme_order()

    assert (order.names, order.directory, order.profile) == ((DOMAIN, "www.example.test"), LETS_ENCRYPT, "shortlived")
    assert (order.http_port, order.agree_to_terms) == (None, True)
    assert settings.acme_dir == tmp_path / "certs" / DOMAIN


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"secret_key": None}, "sealed with SECRET_KEY"),
        ({"acme_email": None}, "QUADRA_ACME_EMAIL"),
        ({"acme_agree": False}, "your agreement"),
        ({"acme_names": ("*.example.test",)}, "no wildcard"),
        ({"acme_directory": "http://ca.example.test"}, "an https address"),
        ({"tls_certificate": Path("a"), "tls_key": Path("b")}, "name files or have one issued"),
    ],
)
def test_options_that_make_no_order_are_refused(tmp_path: Path, given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        options(tmp_path, **given)


def test_production_may_start_with_a_certificate_to_be_issued(tmp_path: Path) -> None:
    assert options(tmp_path, environment="production", secret_key="kR8!" + SECRET[:60], tls=True).tls


# Health


def status(standing: Standing, attempts: Attempts = NO_ATTEMPTS) -> Status:
    expires = None if standing is Standing.MISSING else 1_700_000_000.0
    return Status(DOMAIN, standing, expires, expires, None, attempts)


FAILED = Attempts(failures=1, reason="the name is forbidden")


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (status(Standing.GOOD, FAILED), State.OK, ""),
        (status(Standing.MISSING), State.WAITING, f"no certificate for {DOMAIN} yet"),
        (status(Standing.MISSING, FAILED), State.FAILED, f"no certificate for {DOMAIN} yet"),
        (status(Standing.LATE, FAILED), State.FAILED, "was not renewed and expires on 2023-11-14 22:13 UTC"),
        (status(Standing.EXPIRED), State.FAILED, "expired on 2023-11-14 22:13 UTC"),
    ],
)
def test_health_says_how_the_certificate_stands(found: Status, state: State, words: str) -> None:
    finding: Finding = renewed(lambda: found)()

    assert finding.state is state
    assert words in (finding.detail or "")


# Workers


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(options(tmp_path).database_url)) as opened:
        all_tables().create_all(opened.engine)
        yield opened


def test_every_worker_answers_what_another_process_ordered(tmp_path: Path, database: Database) -> None:
    settings = options(tmp_path, tls=True)
    client = create_app(settings, clock=FakeClock()).test_client()
    token = "0123456789abcdef"
    shared_entries(settings, database, FakeClock()).write(entry_of(token), b"proof")

    answers = [client.get(PREFIX + each, base_url=f"http://{DOMAIN}") for each in (token, "another-token-of-16")]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].data == b"proof"
    assert client.get("/health", base_url=f"http://{DOMAIN}").status_code == 308


def test_health_watches_the_certificate(tmp_path: Path, database: Database) -> None:
    client = create_app(options(tmp_path), clock=FakeClock()).test_client()

    told = client.get("/health").get_json()["checks"]["certificate"]

    assert (told["state"], told["detail"]) == ("waiting", f"no certificate for {DOMAIN} yet")


# The whole


@pytest.fixture
def pebble(tmp_path: Path) -> Iterator[Pebble]:
    (tmp_path / "pebble").mkdir(mode=0o700)
    with pebble_server(tmp_path / "pebble") as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, pebble: Pebble) -> Settings:
    return options(
        tmp_path / "data",
        port=free_port(),
        hub_port=free_port(),
        workers=2,
        job_lease_seconds=3.0,
        grace_seconds=8.0,
        tls=True,
        tls_redirect_port=pebble.http_port,
        acme_directory=pebble.directory,
        acme_roots=pebble.roots,
    )


@pytest.mark.slow
def test_the_service_gets_its_certificate_while_it_serves(
    serve: Serve, settings: Settings, pebble: Pebble, tmp_path: Path
) -> None:
    client = trusting(pebble.issuer(tmp_path))
    client.check_hostname = False

    def answers() -> bool:
        try:
            return get(settings.port, "/health/live", client).status == 200
        except (ssl.SSLCertVerificationError, ConnectionError):
            return False

    with serve(REAL):
        wait_until(answers, "a certificate of the authority", within=120)

    assert pebble.counted("Issued certificate") == 1
