"""Who may call the ready service: every operation, in development and in production."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from pydantic import TypeAdapter

from quadra_matrix.access.identity import KNOWN, PUBLIC
from quadra_matrix.cli import main
from quadra_matrix.errors import InvalidSettings
from quadra_matrix.service.access.documents import SessionView
from quadra_matrix.service.access.operations import NEEDS, OPERATE
from quadra_matrix.service.access.wiring import keyring_of, signing_secret
from quadra_matrix.service.app import create_app
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import SCOPES, Settings, load
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.testing.oidc import fake_issuer
from tests.api.serving import served

AFAR = {"REMOTE_ADDR": "203.0.113.9"}
"""What makes a request of the test client one of another machine."""

Keys = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path, environment="production", secret_key=new_secret())
    database = Database(made.database_url)
    upgrade(database)
    database.close()
    return made


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def key(settings: Settings) -> Iterator[Keys]:
    """Make a key of the service from outside, as the command does."""
    database = Database(settings.database_url)
    keyring = keyring_of(settings, database)
    yield lambda *scopes: keyring.create("test", scopes)[1]
    database.close()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def operations(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Yield method, path with its variables filled in, and endpoint of every operation."""
    for rule in app.url_map.iter_rules():
        values = {name: {"chart": "rates", "move": "start"}.get(name, "0" * 32) for name in rule.arguments}
        if rule.endpoint.startswith("quadra_api") or rule.endpoint == "session.open_session":
            continue  # a password of its own; a credential of its own
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            path = app.url_map.bind("localhost").build(rule.endpoint, values, method=method)
            yield method, path, rule.endpoint


def test_every_operation_has_a_place_in_the_table(app: Flask) -> None:
    known = {endpoint for _, _, endpoint in operations(app)}
    blueprints = {endpoint.rpartition(".")[0] for endpoint in known}

    assert not {endpoint for endpoint in known if not {endpoint, endpoint.rpartition(".")[0]} & NEEDS.keys()}
    assert {name for name in NEEDS if name not in known | blueprints} == {"quadra_api", "session.open_session"}
    assert set(NEEDS.values()) == SCOPES | {PUBLIC, KNOWN}


def test_in_production_everything_but_health_asks_for_a_credential(app: Flask, client: FlaskClient) -> None:
    for method, path, endpoint in operations(app):
        answer = client.open(path, method=method)

        if NEEDS.get(endpoint, NEEDS[endpoint.rpartition(".")[0]]) == PUBLIC:
            assert answer.status_code != 401, endpoint
        else:
            assert (answer.status_code, answer.content_type) == (401, "application/problem+json"), endpoint
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json["type"].endswith(":unauthenticated")


def test_a_key_opens_the_operations_of_its_scopes_and_no_others(app: Flask, client: FlaskClient, key: Keys) -> None:
    for scope in sorted(SCOPES):
        headers = bearer(key(scope))
        for method, path, endpoint in operations(app):
            need = NEEDS.get(endpoint, NEEDS[endpoint.rpartition(".")[0]])
            status = client.open(path, method=method, headers=headers).status_code
            assert status != 401
            if need != PUBLIC:
                assert (status == 403) is (need not in (scope, KNOWN)), (scope, endpoint)


def test_a_revoked_key_is_refused_by_a_running_worker_at_once(settings: Settings, client: FlaskClient) -> None:
    database = Database(settings.database_url)
    keyring = keyring_of(settings, database)
    record, text = keyring.create("ci", ["read"])
    assert client.get("/api/train", headers=bearer(text)).status_code == 200

    keyring.revoke(record.id)

    assert client.get("/api/train", headers=bearer(text)).status_code == 401
    database.close()


def test_development_is_open_to_this_machine_and_to_nobody_else(tmp_path: Path) -> None:
    made = Settings(data_dir=tmp_path)
    database = Database(made.database_url)
    upgrade(database)
    database.close()
    client = create_app(made).test_client()

    assert client.get("/api/train").status_code == 200
    assert client.get("/api/train", environ_overrides=AFAR).status_code == 401
    assert client.get("/api/train", headers={"Host": "evil.example"}).status_code == 401
    assert client.post("/api/train", headers={"Sec-Fetch-Site": "cross-site"}, json={}).status_code == 403
    assert client.get("/api/train", headers={"X-API-Key": "wrong"}).status_code == 401


def test_callers_without_a_credential_may_what_the_settings_say(settings: Settings) -> None:
    opened = settings.model_copy(update={"anonymous_scopes": ("predict",)})
    client = create_app(opened).test_client()

    assert client.post("/api/predict", json={"rows": [[1]]}).status_code == 404
    assert client.get("/api/train").status_code == 401


@pytest.mark.parametrize("scope", ["write", "operate"])
def test_production_does_not_start_open_to_writers_unless_told_so(scope: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "data_dir": tmp_path, "environment": "production", "secret_key": new_secret(),
        "anonymous_scopes": ("read", scope),
    }  # fmt: skip

    with pytest.raises(InvalidSettings) as refused:
        load(**given)

    assert list(refused.value.problems) == ["QUADRA_ALLOW_ANONYMOUS_WRITES"]
    assert scope in refused.value.problems["QUADRA_ALLOW_ANONYMOUS_WRITES"]
    assert load(**given, allow_anonymous_writes=True).anonymous_scopes == ("read", scope)
    assert load(**given | {"environment": "development"})


def test_scopes_and_origins_are_checked_at_the_start() -> None:
    for given, variable in (
        ({"anonymous_scopes": ("admin",)}, "QUADRA_ANONYMOUS_SCOPES"),
        ({"allowed_origins": ("https://*.example",)}, "QUADRA_ALLOWED_ORIGINS"),
        ({"allowed_origins": ("*",), "cors_credentials": True}, "QUADRA_CORS_CREDENTIALS"),
    ):
        with pytest.raises(InvalidSettings) as refused:
            load(**given)
        assert list(refused.value.problems) == [variable]


def test_the_documents_say_what_each_operation_needs(client: FlaskClient) -> None:
    document = client.get("/api/openapi-3.1.json").json

    assert document["paths"]["/api/train"]["post"]["security"] == [
        {name: ["write"]} for name in ("bearer", "key", "session")
    ]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key", "session"}
    for methods in document["paths"].values():
        for operation in methods.values():
            if not operation["security"] and operation["operationId"] != "session_open_session":
                assert not {"401", "403"} & set(operation["responses"]), operation["operationId"]
            if operation["security"]:
                assert {"401", "403", "503"} <= set(operation["responses"]), operation["operationId"]
            assert "429" not in operation["responses"] or operation["operationId"] in {
                "train_train", "session_open_session",
            }  # fmt: skip
    twin = client.get("/api/openapi.json").json
    assert twin["paths"]["/api/train"]["post"]["security"] == [{"bearer": []}, {"key": []}, {"session": []}]


def test_development_says_that_it_is_open(tmp_path: Path) -> None:
    document = create_app(Settings(data_dir=tmp_path)).test_client().get("/api/openapi-3.1.json").json

    assert document["paths"]["/api/train"]["post"]["security"][-1] == {}
    assert document["paths"]["/health"]["get"]["security"] == []


def test_development_signs_with_a_key_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    made = Settings(data_dir=tmp_path)

    secret = signing_secret(made)

    assert signing_secret(made) == secret
    assert len(secret) >= 64
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret-key"]


def test_an_operator_signs_in_to_the_service(client: FlaskClient, key: Keys) -> None:
    opened = client.post("/api/session", json={"credential": key(OPERATE)}, headers={"Sec-Fetch-Site": "same-origin"})
    token = {"X-CSRF-Token": opened.json["csrf_token"]}

    TypeAdapter(SessionView).validate_json(opened.data)
    assert client.get("/admin/circuit-breakers").status_code == 200
    change = {"path": "/admin/circuit-breakers/redis-limits", "json": {"action": "reset"}}
    assert client.post(**change).status_code == 403
    assert client.post(**change, headers=token).status_code == 200
    assert client.delete("/api/session", headers=token).status_code == 204
    assert client.get("/admin/circuit-breakers").status_code == 401


def test_a_token_of_the_issuer_is_accepted_and_documented(settings: Settings) -> None:
    with fake_issuer() as issuer:
        named = {"oidc_issuer": issuer.url, "oidc_audience": "quadra", "oidc_scope_prefix": "quadra:"}
        client = create_app(settings.model_copy(update=named)).test_client()
        good, other = issuer.token(scope="quadra:read write"), issuer.token(aud="other")

        assert client.get("/api/train", headers=bearer(good)).status_code == 200
        assert client.post("/api/train", headers=bearer(good)).status_code == 403
        assert client.get("/api/train", headers=bearer(other)).status_code == 401
        opened = client.post("/api/session", json={"credential": good})
        assert opened.json["subject"] == f"{issuer.url}|ada"
        document = client.get("/api/openapi.json").json
        place = f"{issuer.url}/.well-known/openid-configuration"
        assert document["components"]["securitySchemes"]["oidc"] == {
            "type": "openIdConnect", "openIdConnectUrl": place,
        }  # fmt: skip
        assert {"oidc": ["read"]} in document["paths"]["/api/train"]["get"]["security"]


def test_an_issuer_is_named_with_its_audience_and_asked_securely() -> None:
    for given, variable in (
        ({"oidc_issuer": "https://issuer.example"}, "QUADRA_OIDC_AUDIENCE"),
        ({"oidc_issuer": "http://issuer.example", "oidc_audience": "quadra"}, "QUADRA_OIDC_ISSUER"),
    ):
        with pytest.raises(InvalidSettings) as refused:
            load(**given)
        assert list(refused.value.problems) == [variable]


def test_limits_of_the_service_are_told_and_documented_where_they_hold(settings: Settings, key: Keys) -> None:
    limited = settings.model_copy(update={"rate_limits": ("2/hour by caller on /api/train", "9/hour by address")})
    client, headers = create_app(limited).test_client(), bearer(key("read"))

    answers = [client.get("/api/train", headers=headers) for _ in range(3)]
    document = client.get("/api/openapi.json").json

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json["type"] == "urn:quadra-matrix:problem:too-many-requests"
    assert answers[2].json["trace_id"]
    assert {client.get("/health/live").status_code for _ in range(12)} == {200}
    assert "429" in document["paths"]["/api/train/{job}"]["get"]["responses"]
    assert "429" not in document["paths"]["/health"]["get"]["responses"]


def test_pages_of_allowed_origins_may_call(settings: Settings) -> None:
    allowed = settings.model_copy(update={"allowed_origins": ("https://app.example",)})
    client = create_app(allowed).test_client()

    answer = client.get("/api/train", headers={"Origin": "https://app.example"})

    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, "https://app.example")
    assert "Origin" in client.get("/health/live").headers["Vary"]


def test_a_limit_that_cannot_be_read_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(rate_limits=("often",))

    assert list(refused.value.problems) == ["QUADRA_RATE_LIMITS"]


def quadra(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_keys_are_made_listed_and_revoked_by_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_DATA_DIR", str(tmp_path))
    assert quadra("db", "upgrade").exit_code == 0

    made = quadra("keys", "create", "ci", "--scope", "read", "--scope", "predict", "--expires-in", "12h")
    secret = made.stdout.strip()
    listed = quadra("keys", "list")
    key_id = secret.split("_")[1]

    assert secret.startswith("qmx_")
    assert key_id in listed.stdout
    assert secret[17:] not in listed.output
    assert "read,predict" in listed.stdout
    revoked = quadra("keys", "revoke", key_id, "--json")
    assert '"holds": false' in revoked.stdout
    assert quadra("keys", "revoke", "none").exit_code == 1


@pytest.mark.parametrize("duration", ["1", "0d", "-1d", "1y", ""])
def test_a_bad_duration_is_refused(duration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_DATA_DIR", str(tmp_path))

    ran = quadra("keys", "create", "ci", "--scope", "read", f"--expires-in={duration}")

    assert ran.exit_code == 2
    assert "--expires-in" in ran.stderr


def test_a_command_shows_its_key_to_the_service_only(app: Flask, key: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    text = key(OPERATE)
    with served(app) as address:
        without = quadra("breakers", "list", "--url", address)
        by_option = quadra("breakers", "list", "--api-key", text, "--url", address)
        monkeypatch.setenv("QUADRA_API_KEY", text)
        by_setting = quadra("breakers", "list", "--url", address, "--json")

    assert (without.exit_code, by_option.exit_code, by_setting.exit_code) == (1, 0, 0)
    assert "send a valid API key" in without.stderr
    assert text not in without.output + by_option.output + by_setting.output
