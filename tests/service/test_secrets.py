"""No secret leaves the service: planted wherever one can be, looked for wherever the service says something."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from quadra_matrix.access.identity import Identity, Via
from quadra_matrix.access.keys import draw
from quadra_matrix.cli import main
from quadra_matrix.service.access.wiring import keyring_of
from quadra_matrix.service.app import END, create_app
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.store.keys import KeyKind
from quadra_matrix.telemetry.logs import setup_logging
from quadra_matrix.telemetry.redact import redact
from quadra_matrix.testing.oidc import fake_issuer
from tests.services.process import free_port

SENT_BY_MISTAKE = draw(KeyKind.API).text
"""A key that a caller puts where it does not belong."""


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Collect all that is logged, from the least level on, as the service writes it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        setup_logging(stream, level="DEBUG")
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, str]:
    return {
        "data_dir": str(tmp_path / "data"),
        "environment": "production",
        "secret_key": new_secret(),
        "previous_secret_keys": f"{new_secret()},{new_secret()}",
        "redis_url": f"redis://:hunter2-of-redis@127.0.0.1:{free_port()}/0",
        "api_password": "hunter2-of-the-pages",
        "log_level": "DEBUG",
        "rate_limits": "10000/minute by address",
    }


def mistakes(key: str, cookie: str, token: str) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield method, path and the rest of requests that show secrets, rightly and wrongly."""
    for shown in (
        {"Authorization": f"Bearer {key}"}, {"X-API-Key": key}, {"Cookie": f"quadra_session={cookie}"},
        {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Basic {SENT_BY_MISTAKE}"}, {"X-API-Key": SENT_BY_MISTAKE + "x"},
        {"X-API-Key": SENT_BY_MISTAKE}, {"Authorization": SENT_BY_MISTAKE},
    ):  # fmt: skip
        for path in ("/api/train", "/api/models/none", "/nowhere", "/api/experiments", "/api/session", "/metrics"):
            yield "GET", path, {"headers": shown}
    for path in (f"/api/train?key={SENT_BY_MISTAKE}", f"/nowhere?q={SENT_BY_MISTAKE}", f"/api/docs?x=Bearer {token}"):
        yield "GET", path, {}
    for credential in (SENT_BY_MISTAKE, token + "x", key):
        yield "POST", "/api/session", {"json": {"credential": credential}}
    yield "POST", "/api/predict", {"json": {"rows": [[1]], "password": SENT_BY_MISTAKE}, "headers": {"X-API-Key": key}}


def test_no_secret_is_in_logs_errors_metrics_traces_or_reports(
    planted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in planted.items():
        monkeypatch.setenv(f"QUADRA_{name.upper()}", value)
    with fake_issuer() as issuer, logged() as log:
        monkeypatch.setenv("QUADRA_OIDC_ISSUER", issuer.url)
        monkeypatch.setenv("QUADRA_OIDC_AUDIENCE", "quadra")
        said = {name: ran(*words) for name, words in COMMANDS.items()}
        settings = Settings()
        said["settings"] = repr(settings) + str(settings)
        key = json.loads(ran("keys", "create", "test", "--scope", "*", "--json"))["key"]
        token = issuer.token(scope="read operate")
        app = create_app(settings)
        cookie = session_of(settings)
        client = app.test_client(use_cookies=False)
        for method, path, given in mistakes(key, cookie, token):
            answer = client.open(path, method=method, **given)
            said[f"{method} {path} {len(said)}"] = str(answer.status) + answer.text
        said["traces"] = client.get("/api/traces?limit=500", headers={"X-API-Key": key}).text
        said["metrics"] = client.get("/metrics", headers={"X-API-Key": key}).text
        app.extensions[END]()
        said["keys list"] = ran("keys", "list", "--json") + ran("keys", "list")
        said["log"] = log.getvalue()

    assert '"traces"' in said["traces"]
    assert "quadra_matrix" in said["log"]
    hidden = [
        planted["secret_key"], *planted["previous_secret_keys"].split(","), "hunter2-of-redis", "hunter2-of-the-pages",
        key[17:], cookie[17:], SENT_BY_MISTAKE[17:], token.rpartition(".")[2],
    ]  # fmt: skip
    leaks = [(place, secret) for place, text in said.items() for secret in hidden if secret in text]
    assert not leaks, leaks[0]
    kept = [file for file in Path(planted["data_dir"]).rglob("*") if file.is_file()]
    assert {"quadra.db", "traces.db"} <= {file.name for file in kept}
    leaks = [(str(file), secret) for file in kept for secret in hidden if secret.encode() in file.read_bytes()]
    assert not leaks, leaks[0]


COMMANDS = {
    "db upgrade": ("db", "upgrade"),
    "config check": ("config", "check"),
    "config check --json": ("config", "check", "--json"),
}


def ran(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.output


def session_of(settings: Settings) -> str:
    """Return the value of an operator's cookie."""
    database = Database(settings.database_url)
    holder = Identity("key:x", "ada", frozenset({"*"}), Via.KEY)
    text = keyring_of(settings, database).open_session(holder, 3600)[1]
    database.close()
    return text


def test_refused_settings_do_not_show_what_they_held(planted: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in planted.items():
        monkeypatch.setenv(f"QUADRA_{name.upper()}", value)
    monkeypatch.setenv("QUADRA_PORT", "none")

    done = CliRunner().invoke(main, ["config", "check", "--json"])

    assert done.exit_code == 2
    for name in ("secret_key", "api_password"):
        assert planted[name] not in done.output
    assert not any(each in done.output for each in planted["previous_secret_keys"].split(","))
    assert "hunter2" not in done.output


@pytest.mark.parametrize("kind", list(KeyKind))
def test_keys_and_tokens_are_hidden_wherever_they_stand(kind: KeyKind) -> None:
    shown = draw(kind)
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4"

    text = redact(f"GET /x/{shown.text} said {token}, {shown.text!r}")

    assert shown.text not in text
    assert f"{shown.text[:17]}***" in text
    assert "c2lnbmF0dXJl" not in text


def test_a_record_shows_neither_the_secret_nor_its_hash(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'quadra.db'}")
    upgrade(database)
    keyring = keyring_of(Settings(data_dir=tmp_path), database)

    record, text = keyring.create("ci", ["read"])

    assert text not in repr(record)
    assert record.digest not in repr(record)
    database.close()
