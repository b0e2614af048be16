"""Access on any Flask application: scopes, sign-in, origins and limits, over requests."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, abort, render_template_string
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from quadra_matrix.access.flask import (
    access_of,
    requires,
    setup_access,
    setup_cors,
    setup_rate_limits,
    setup_sign_in,
)
from quadra_matrix.access.flask.limits import network_of
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import pepper
from quadra_matrix.access.limiter import Limiter, MemoryBuckets
from quadra_matrix.errors import InvalidValue, RedisUnavailable
from quadra_matrix.events.access import CallRefused, LimitReached, SignedIn, SignedOut, SignInFailed
from quadra_matrix.testing import FakeClock, MemoryKeys, RecordingHook

AFAR = {"REMOTE_ADDR": "203.0.113.9"}
PAGE = {"Sec-Fetch-Site": "same-origin"}
APP, EVIL = "https://app.example", "https://evil.example"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keyring(clock: FakeClock) -> Keyring:
    return Keyring(MemoryKeys(), [pepper("a secret")], clock=clock)


@pytest.fixture
def hook() -> RecordingHook:
    return RecordingHook()


@pytest.fixture
def app(keyring: Keyring, hook: RecordingHook) -> Flask:
    """An app with views of every kind of need; each POST changes something."""
    app = Flask("shop")
    setup_access(app, keyring, needs={"listed": "write"}, hook=hook)
    app.add_url_rule("/listed", "listed", lambda: "ok")
    app.add_url_rule("/silent", "silent", lambda: {"by": access_of().identity().subject}, methods=["GET", "POST"])

    @app.get("/public")
    @requires("public")
    def public() -> str:
        return "ok"

    @app.route("/scoped", methods=["GET", "POST"])
    @requires("read")
    def scoped() -> dict[str, Any]:
        return {"by": access_of().require("read").subject, "may": access_of().may("write")}

    @requires("read")
    class Viewed(MethodView):
        def get(self) -> str:
            return "ok"

    app.add_url_rule("/viewed", view_func=Viewed.as_view("viewed"))
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def far(client: FlaskClient, path: str, method: str = "GET", **given: Any) -> TestResponse:
    """Send a request of another machine."""
    return client.open(path, method=method, environ_overrides=AFAR, **given)


def key(keyring: Keyring, *scopes: str) -> dict[str, str]:
    return {"X-API-Key": keyring.create("test", scopes)[1]}


def test_each_view_gets_what_it_needs(client: FlaskClient, keyring: Keyring) -> None:
    reader = key(keyring, "read")
    statuses = {
        path: (far(client, path).status_code, far(client, path, headers=reader).status_code)
        for path in ("/public", "/scoped", "/viewed", "/silent", "/listed", "/static/x", "/nowhere")
    }

    assert statuses == {
        "/public": (200, 200), "/scoped": (401, 200), "/viewed": (401, 200), "/silent": (401, 200),
        "/listed": (401, 403), "/static/x": (404, 404), "/nowhere": (404, 404),
    }  # fmt: skip


def test_a_refusal_says_what_to_do_and_is_announced(client: FlaskClient, keyring: Keyring, hook: RecordingHook) -> None:
    missing, forbidden = far(client, "/scoped"), far(client, "/listed", headers=key(keyring, "read"))

    assert (missing.status_code, missing.content_type) == (401, "application/problem+json")
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert missing.get_json(force=True)["type"] == "urn:quadra-matrix:problem:unauthenticated"
    assert "'write'" in forbidden.get_json(force=True)["detail"]
    assert [(event.refusal, event.operation) for event in hook.of(CallRefused)] == [
        ("missing", "GET scoped"), ("Forbidden", "GET listed"),
    ]  # fmt: skip


def test_a_preflight_needs_no_credential_and_a_head_does(client: FlaskClient) -> None:
    assert far(client, "/scoped", "OPTIONS").status_code == 200
    assert far(client, "/scoped", "HEAD").status_code == 401


def test_the_default_can_be_closed_and_bad_needs_are_refused(keyring: Keyring) -> None:
    app = Flask("closed")
    setup_access(app, keyring, default="operate", local=())
    app.add_url_rule("/", "home", lambda: "ok")

    assert app.test_client().get("/", headers=key(keyring, "read")).status_code == 403
    with pytest.raises(InvalidValue):
        setup_access(Flask("bad"), needs={"home": "NOT A SCOPE"})
    with pytest.raises(InvalidValue):
        requires("NOT A SCOPE")
    with pytest.raises(InvalidValue):
        access_of(Flask("without"))


def test_a_proxy_on_this_machine_makes_nobody_local(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    answer = app.test_client().get("/scoped", headers={"X-Forwarded-For": "203.0.113.9"})

    assert answer.status_code == 401


@pytest.fixture
def signed(app: Flask, keyring: Keyring, hook: RecordingHook, clock: FakeClock) -> FlaskClient:
    """A browser at an app that operators sign in to, over HTTPS."""
    setup_sign_in(app, keyring, hook=hook, clock=clock)
    app.add_url_rule("/form", "form", lambda: render_template_string("{{ csrf_token() }}"), methods=["GET", "POST"])
    return app.test_client()


def sign_in(client: FlaskClient, credential: str, **headers: str) -> TestResponse:
    return client.post(
        "/api/session", json={"credential": credential}, headers=PAGE | headers, base_url="https://shop.example",
        environ_overrides=AFAR,
    )  # fmt: skip


def browse(client: FlaskClient, path: str, method: str = "GET", **given: Any) -> TestResponse:
    return client.open(path, method=method, base_url="https://shop.example", environ_overrides=AFAR, **given)


def test_an_operator_signs_in_reads_changes_and_signs_out(
    signed: FlaskClient, keyring: Keyring, hook: RecordingHook
) -> None:
    record, secret = keyring.create("ada", ["read"])

    opened = sign_in(signed, secret)
    token = opened.json["csrf_token"]

    cookie = opened.headers["Set-Cookie"]
    assert cookie.startswith("__Host-quadra_session=qms_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert opened.headers["Cache-Control"] == "no-store"
    assert browse(signed, "/scoped").json == {"by": f"key:{record.id}", "may": False}
    assert browse(signed, "/scoped", "POST", headers=PAGE).status_code == 403
    assert browse(signed, "/scoped", "POST", headers=PAGE | {"X-CSRF-Token": token}).status_code == 200
    assert browse(signed, "/form", "POST", headers=PAGE, data={"csrf_token": token}).status_code == 200
    assert browse(signed, "/form").text == token
    assert browse(signed, "/api/session").json["csrf_token"] == token
    stolen = cookie.split(";")[0].split("=", 1)[1]
    gone = browse(signed, "/api/session", "DELETE", headers=PAGE | {"X-CSRF-Token": token})
    assert (gone.status_code, "Max-Age=0" in gone.headers["Set-Cookie"]) == (204, True)
    assert browse(signed, "/scoped").status_code == 401
    signed.set_cookie("__Host-quadra_session", stolen, domain="shop.example")
    assert browse(signed, "/scoped").status_code == 401, "the session went on at the server"
    assert [type(event) for event in hook.events if not isinstance(event, CallRefused)] == [SignedIn, SignedOut]


def test_a_session_is_another_one_after_each_sign_in(signed: FlaskClient, keyring: Keyring) -> None:
    secret = keyring.create("ada", ["read"])[1]

    first, second = (sign_in(signed, secret).headers["Set-Cookie"].split(";")[0].split("=", 1)[1] for _ in range(2))

    assert first != second
    signed.set_cookie("__Host-quadra_session", first, domain="shop.example")
    assert browse(signed, "/scoped").status_code == 401


def test_a_session_ends_by_itself_and_with_its_key(signed: FlaskClient, keyring: Keyring, clock: FakeClock) -> None:
    record, secret = keyring.create("ada", ["read"])

    sign_in(signed, secret)
    clock.advance(12 * 3600)
    assert browse(signed, "/scoped").status_code == 401
    sign_in(signed, secret)
    assert browse(signed, "/scoped").status_code == 200
    keyring.revoke(record.id)
    assert browse(signed, "/scoped").status_code == 401


def test_a_bad_credential_opens_nothing_and_is_announced(signed: FlaskClient, hook: RecordingHook) -> None:
    answer = sign_in(signed, "qmx_guess")

    assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
    assert hook.of(SignInFailed) == [SignInFailed("malformed", "203.0.113.9")]


@pytest.mark.parametrize("body", [{}, {"json": []}, {"json": {"credential": 5}}, {"data": "credential=x"}])
def test_a_body_without_a_credential_opens_nothing(signed: FlaskClient, body: dict[str, Any]) -> None:
    assert browse(signed, "/api/session", "POST", headers=PAGE, **body).status_code == 401


def test_a_page_of_another_site_signs_nobody_in(signed: FlaskClient, keyring: Keyring) -> None:
    secret = keyring.create("ada", ["read"])[1]

    assert sign_in(signed, secret, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_nobody_signs_in_where_others_could_read_the_session(signed: FlaskClient, keyring: Keyring) -> None:
    shown = {"credential": keyring.create("ada", ["read"])[1]}

    assert far(signed, "/api/session", "POST", json=shown).status_code == 403
    here = signed.post("/api/session", json=shown)
    assert here.headers["Set-Cookie"].startswith("quadra_session=qms_")
    assert "Secure" not in here.headers["Set-Cookie"]


def test_over_https_the_plain_cookie_counts_for_nothing(signed: FlaskClient, keyring: Keyring) -> None:
    """Another service on the host, or somebody on the network, can set it."""
    holder = keyring.identify(keyring.create("mallory", ["read"])[1], kind())
    signed.set_cookie("quadra_session", keyring.open_session(holder, 60)[1], domain="shop.example")

    assert browse(signed, "/scoped").status_code == 401


def kind() -> Any:
    from quadra_matrix.store.keys import KeyKind

    return KeyKind.API


def test_tries_to_sign_in_are_counted_by_address(signed: FlaskClient) -> None:
    statuses = [sign_in(signed, "qmx_guess").status_code for _ in range(12)]

    assert statuses == [401] * 10 + [429] * 2


class Away(MemoryBuckets):
    def take(self, asked: Any) -> Any:
        raise RedisUnavailable("it is away")

    def ping(self) -> None:
        raise RedisUnavailable("it is away")


def test_nobody_signs_in_while_tries_cannot_be_counted(app: Flask, keyring: Keyring) -> None:
    limiter = Limiter(MemoryBuckets(), Away())
    setup_sign_in(app, keyring, limiter=limiter)

    answer = sign_in(app.test_client(), keyring.create("ada", ["read"])[1])
    limiter.close()

    assert (answer.status_code, "Set-Cookie" in answer.headers) == (503, False)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.fixture
def crossed() -> FlaskClient:
    app = Flask("crossed")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    setup_cors(app, [APP], credentials=True)
    app.add_url_rule("/thing", "thing", lambda: ("ok", {"Vary": "Accept"}), methods=["GET", "DELETE"])
    app.add_url_rule("/refused", "refused", lambda: abort(403))
    app.add_url_rule("/broken", "broken", lambda: 1 // 0)
    return app.test_client()


@pytest.mark.parametrize("path", ["/thing", "/refused", "/broken", "/nowhere"])
@pytest.mark.parametrize("origin", [APP, EVIL, "null", None])
def test_only_a_listed_page_may_read_and_every_answer_varies(
    crossed: FlaskClient, path: str, origin: str | None
) -> None:
    answer = crossed.get(path, headers={"Origin": origin} if origin else {})

    allowed = {name: value for name, value in answer.headers if name.startswith("Access-Control-Allow")}
    expected = {"Access-Control-Allow-Origin": APP, "Access-Control-Allow-Credentials": "true"}
    assert allowed == (expected if origin == APP else {})
    assert "origin" in answer.vary
    assert ("accept" in answer.vary) is (path == "/thing")
    assert len(answer.headers.getlist("Vary")) == 1


def test_a_preflight_is_answered_for_the_methods_of_the_route(crossed: FlaskClient) -> None:
    asked = {"Origin": APP, "Access-Control-Request-Method": "DELETE"}

    answer = crossed.options("/thing", headers=asked)

    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, OPTIONS"
    assert "X-API-Key" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Vary"].startswith("Origin, Access-Control-Request-Method")
    other = crossed.options("/thing", headers=asked | {"Origin": EVIL})
    assert (other.status_code, "Access-Control-Allow-Origin" in other.headers) == (204, False)
    assert other.headers["Vary"].startswith("Origin, ")
    assert crossed.options("/nowhere", headers=asked).status_code == 404
    assert crossed.options("/thing").status_code == 200


def test_every_page_may_call_as_nobody() -> None:
    app = Flask("open")
    setup_cors(app, ["*"])
    app.add_url_rule("/", "home", lambda: "ok")

    answer = app.test_client().get("/", headers={"Origin": EVIL})

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


def test_cookies_for_every_page_are_refused_at_the_start() -> None:
    with pytest.raises(InvalidValue, match="origins"):
        setup_cors(Flask("bad"), ["*"], credentials=True)
    with pytest.raises(InvalidValue, match="origin"):
        setup_cors(Flask("bad"), ["https://*.example"])


def test_a_preflight_comes_before_limits_and_credentials(app: Flask) -> None:
    setup_rate_limits(app, ["1/day by route", "1/day by address"])
    setup_cors(app, [APP])
    client = app.test_client()
    asked = {"Origin": APP, "Access-Control-Request-Method": "GET"}

    assert {far(client, "/scoped", "OPTIONS", headers=asked).status_code for _ in range(5)} == {204}


def test_a_limit_is_told_reached_and_announced(app: Flask, keyring: Keyring, hook: RecordingHook) -> None:
    setup_rate_limits(app, ["2/hour by caller on /scoped"], hook=hook)
    client, ada, bob = app.test_client(), key(keyring, "read"), key(keyring, "read")

    answers = [far(client, "/scoped", headers=ada) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"2/hour by caller on /scoped";q=2;w=3600'
    assert answers[0].headers["RateLimit"] == '"2/hour by caller on /scoped";r=1;t=1800'
    refused = answers[2]
    assert refused.content_type == "application/problem+json"
    assert refused.get_json(force=True)["type"].endswith(":too-many-requests")
    assert 1795 <= int(refused.headers["Retry-After"]) <= 1800
    assert refused.headers["RateLimit"].startswith('"2/hour by caller on /scoped";r=0;t=1')
    assert far(client, "/scoped", headers=bob).status_code == 200
    assert far(client, "/silent", headers=ada).status_code == 200
    assert "RateLimit" not in far(client, "/silent", headers=ada).headers
    assert [event.limit for event in hook.of(LimitReached)] == ["2/hour by caller on /scoped"]


def test_addresses_are_counted_before_credentials_are_looked_at(app: Flask) -> None:
    setup_rate_limits(app, ["2/hour by address"], exempt=["public"])
    client = app.test_client()

    assert [far(client, "/scoped", headers={"X-API-Key": "guess"}).status_code for _ in range(3)] == [401, 401, 429]
    assert far(client, "/public").status_code == 200
    assert client.get("/scoped").status_code == 200


def test_an_address_is_believed_from_trusted_hops_only(app: Flask) -> None:
    setup_rate_limits(app, ["1/hour by address on /public"])
    client = app.test_client()

    spoofed = [client.get("/public", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(2)]
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]
    behind = [client.get("/public", headers={"X-Forwarded-For": f"evil, 192.0.2.{n}"}).status_code for n in range(2)]

    assert (spoofed, behind) == ([200, 429], [200, 200])


def test_everybody_together_is_counted_by_route(app: Flask, keyring: Keyring) -> None:
    setup_rate_limits(app, ["2/hour by route"])
    client = app.test_client()

    statuses = [far(client, "/scoped", headers=key(keyring, "read")).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert far(client, "/viewed", headers=key(keyring, "read")).status_code == 200
    assert far(client, "/nowhere").status_code == 404


def test_two_limits_are_told_together(app: Flask, keyring: Keyring) -> None:
    setup_rate_limits(app, ["5/hour by address", "3/hour by caller"])

    answer = far(app.test_client(), "/scoped", headers=key(keyring, "read"))

    assert answer.headers["RateLimit"] == '"5/hour by address";r=4;t=720, "3/hour by caller";r=2;t=1200'


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::ffff:192.0.2.1", "192.0.2.1"),
     ("", "unknown"), ("nonsense", "unknown")],
)  # fmt: skip
def test_an_ipv6_customer_is_one_network(address: str, network: str) -> None:
    assert network_of(address) == network
