"""Every answer of the assembled service tells browsers to be careful, whatever its status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from quadra_matrix.errors import InvalidSettings
from quadra_matrix.service.app import create_app
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import Settings, load
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database

HTTPS = "https://localhost:5000"
ONCE = (
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Referrer-Policy",
    "Permissions-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Strict-Transport-Security",
    "Content-Security-Policy",
)
JOB = {"model": "iris", "data": {"source": "builtin", "name": "iris"}}


def built(settings: Settings) -> Flask:
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    app = create_app(settings)

    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield from ("one", "two")

        return Response(parts(), mimetype="text/plain")

    def fail() -> None:
        raise ZeroDivisionError

    app.add_url_rule("/stream", view_func=stream)
    app.add_url_rule("/fail", view_func=fail)
    return app


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("service")
    return built(Settings(data_dir=folder, tls=True, max_upload_bytes=10, queue_limit=1)).test_client()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/openapi.json", 200),
        ("GET", "/api/docs", 200),
        ("GET", "/api/docs/own/pages.css", 200),
        ("GET", "/stream", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/health", 405),
        ("POST", "/api/datasets", 413),
        ("GET", "/fail", 500),
    ],
)
def test_each_header_is_there_once(client: FlaskClient, method: str, path: str, status: int) -> None:
    upload = {"data": b"x" * 100, "content_type": "text/csv"} if status == 413 else {}

    answer = client.open(path, method=method, base_url=HTTPS, buffered=True, **upload)

    assert answer.status_code == status, answer.text
    assert {name: len(answer.headers.getlist(name)) for name in ONCE} == dict.fromkeys(ONCE, 1)


def test_a_full_queue_has_them_too(client: FlaskClient) -> None:
    answers = [client.post("/api/train", base_url=HTTPS, json=JOB) for _ in range(2)]

    assert answers[-1].status_code == 429, answers[-1].text
    assert {name: len(answers[-1].headers.getlist(name)) for name in ONCE} == dict.fromkeys(ONCE, 1)


def test_a_page_that_the_browser_has_keeps_its_policy(client: FlaskClient) -> None:
    path = "/api/docs/own/pages.css"
    tag = client.get(path, base_url=HTTPS, buffered=True).headers["ETag"]

    answer = client.get(path, base_url=HTTPS, buffered=True, headers={"If-None-Match": tag})

    assert answer.status_code == 304
    assert answer.headers.getlist("X-Frame-Options") == ["DENY"]
    assert "Content-Security-Policy" not in answer.headers


def test_the_pages_of_the_api_keep_their_own_policy(client: FlaskClient) -> None:
    policies = client.get("/api/docs", base_url=HTTPS).headers.getlist("Content-Security-Policy")

    assert len(policies) == 1
    assert "strict-dynamic" not in policies[0]


def test_plain_http_is_redirected_only_where_there_is_tls(client: FlaskClient, tmp_path: Path) -> None:
    without = built(Settings(data_dir=tmp_path)).test_client()

    assert client.post("/api/predict").status_code == 308
    assert without.get("/health/live").status_code == 200


def test_browsers_forget_plain_http_for_a_year_in_production_only(tmp_path: Path) -> None:
    production = Settings(data_dir=tmp_path, environment="production", secret_key=new_secret())  # type: ignore[arg-type]

    assert Settings(data_dir=tmp_path).tls_hsts_seconds == 0
    assert production.tls_hsts_seconds == 31_536_000


PRODUCTION = {"environment": "production", "secret_key": new_secret()}


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({**PRODUCTION, "host": "0.0.0.0"}, "QUADRA_TLS"),
        ({**PRODUCTION, "tls": True}, "QUADRA_TLS_KEY"),
        ({"tls_certificate": "cert.pem"}, "QUADRA_TLS_KEY"),
        ({"tls_key": "key.pem"}, "QUADRA_TLS_KEY"),
        ({"tls_redirect_port": 5000}, "QUADRA_TLS_REDIRECT_PORT"),
        ({"trusted_hops": -1}, "QUADRA_TRUSTED_HOPS"),
        ({"tls_handshake_seconds": 0}, "QUADRA_TLS_HANDSHAKE_SECONDS"),
    ],
    ids=["network", "no certificate", "no key", "key alone", "port", "hops", "handshake"],
)
def test_unsafe_options_are_refused(given: dict[str, object], variable: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(**given)

    assert list(refused.value.problems) == [variable]


@pytest.mark.parametrize(
    "given",
    [{"host": "127.0.0.1"}, {"trusted_hops": 1}, {"tls": True, "tls_certificate": "c", "tls_key": "k"}],
    ids=str,
)
def test_what_production_may_do(given: dict[str, object]) -> None:
    assert load(**PRODUCTION, **{"host": "0.0.0.0", **given})
