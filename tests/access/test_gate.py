"""Who calls, and whether that is enough: every credential, every page of another site."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from quadra_matrix.access.gate import LONGEST_CREDENTIAL, Call, Gate, GateOptions
from quadra_matrix.access.identity import KNOWN, PUBLIC, Identity, Via
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import csrf_token, pepper
from quadra_matrix.access.origins import Origins, is_foreign, require_origin
from quadra_matrix.errors import Forbidden, InvalidValue, Unauthenticated
from quadra_matrix.testing import FakeClock, MemoryKeys

OWN = "https://service.example"
TOKEN = Identity("https://issuer.example|ada", "ada", frozenset({"read"}), Via.TOKEN)


class OneToken:
    """Knows one bearer token."""

    def identify(self, text: str) -> Identity:
        if text != "good":
            raise Unauthenticated("signature")
        return TOKEN


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(MemoryKeys(), [pepper("a secret")], clock=FakeClock())


def call(**shown: Any) -> Call:
    is_local = shown.pop("local", False)
    csrf = shown.pop("csrf", None)
    return Call(
        method=shown.pop("method", "GET"), own_origin=lambda: OWN, is_local=lambda: is_local, csrf=lambda: csrf, **shown
    )


def test_a_key_is_taken_from_either_header(keyring: Keyring) -> None:
    gate, (record, text) = Gate(keyring), keyring.create("ci", ["read"])

    for shown in (call(authorization=f"Bearer {text}"), call(authorization=f"bearer  {text}"), call(api_key=text)):
        assert gate.decide(shown, "read").subject == f"key:{record.id}"


def test_a_scope_that_is_missing_is_forbidden_and_a_missing_credential_is_not(keyring: Keyring) -> None:
    gate, text = Gate(keyring), keyring.create("ci", ["read"])[1]

    with pytest.raises(Forbidden, match="'write'"):
        gate.decide(call(api_key=text), "write")
    with pytest.raises(Unauthenticated) as refused:
        gate.decide(call(), "write")
    assert refused.value.reason == "missing"


def test_everything_is_every_scope(keyring: Keyring) -> None:
    gate, text = Gate(keyring), keyring.create("root", ["*"])[1]

    assert gate.decide(call(api_key=text), "anything").name == "root"


def test_any_credential_that_holds_is_known_and_none_is_not(keyring: Keyring) -> None:
    gate, text = Gate(keyring), keyring.create("ci", ["read"])[1]

    assert gate.decide(call(api_key=text), KNOWN).name == "ci"
    with pytest.raises(Unauthenticated):
        gate.decide(call(), KNOWN)


def test_what_is_public_looks_at_no_credential(keyring: Keyring) -> None:
    assert Gate(keyring).decide(call(authorization="Basic eDp5"), PUBLIC).via is Via.NOTHING


@pytest.mark.parametrize(
    "shown",
    [{"authorization": "Basic eDp5"}, {"authorization": "Bearer"}, {"authorization": "Bearer x"}, {"api_key": ""},
     {"authorization": "Bearer qmx_short"}, {"api_key": "qmx_" + "x" * LONGEST_CREDENTIAL},
     {"authorization": "Bearer " + "x" * (LONGEST_CREDENTIAL + 1)}, {"authorization": "Bearer qms_x"}],
)  # fmt: skip
def test_a_credential_that_does_not_hold_is_refused_even_where_none_is_needed(
    keyring: Keyring, shown: dict[str, str]
) -> None:
    gate = Gate(keyring, OneToken(), GateOptions(anonymous_scopes=frozenset({"read"})))

    with pytest.raises(Unauthenticated):
        gate.decide(call(local=True, **shown), "read")


def test_without_keys_or_tokens_no_credential_holds() -> None:
    for shown in (call(api_key="qmx_x"), call(authorization="Bearer good")):
        with pytest.raises(Unauthenticated):
            Gate().identify(shown)


def test_a_bearer_token_of_somebody_else_is_verified(keyring: Keyring) -> None:
    gate = Gate(keyring, OneToken())

    assert gate.decide(call(authorization="Bearer good"), "read") is TOKEN
    with pytest.raises(Unauthenticated):
        gate.identify(call(authorization="Bearer bad"))


def test_this_machine_may_everything_until_it_is_told_otherwise() -> None:
    assert Gate().decide(call(local=True), "operate").via is Via.LOCAL
    with pytest.raises(Unauthenticated):
        Gate(options=GateOptions(local_scopes=frozenset())).decide(call(local=True), "operate")


def test_callers_without_a_credential_may_what_is_said() -> None:
    gate = Gate(options=GateOptions(anonymous_scopes=frozenset({"predict"})))

    assert gate.decide(call(), "predict").subject == "anonymous"
    with pytest.raises(Unauthenticated):
        gate.decide(call(), "read")


@pytest.mark.parametrize(
    "page", [{"fetch_site": "cross-site"}, {"fetch_site": "same-site"}, {"origin": "https://evil.example"},
             {"origin": "null"}]
)  # fmt: skip
def test_a_page_of_another_site_does_not_act_as_this_machine(page: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        Gate().decide(call(local=True, method="POST", **page), "write")
    assert Gate().decide(call(local=True, method="GET", **page), "read")


@pytest.fixture
def session(keyring: Keyring) -> str:
    return keyring.open_session(TOKEN, 60)[1]


def test_a_session_reads_with_its_cookie_alone(keyring: Keyring, session: str) -> None:
    found = Gate(keyring).decide(call(session=session), "read")

    assert (found.subject, found.via) == (TOKEN.subject, Via.SESSION)


def test_a_session_changes_something_only_with_its_token_and_from_its_own_page(keyring: Keyring, session: str) -> None:
    gate, page = Gate(keyring), {"fetch_site": "same-origin", "origin": OWN}
    asked = call(method="POST", session=session, csrf=csrf_token(session), **page)

    assert gate.decide(asked, "read").via is Via.SESSION
    other = csrf_token(keyring.open_session(TOKEN, 60)[1])
    for wrong in (
        dataclasses.replace(asked, csrf=lambda: None),
        dataclasses.replace(asked, csrf=lambda: other),
        dataclasses.replace(asked, csrf=lambda: "é"),
        dataclasses.replace(asked, fetch_site="cross-site"),
        dataclasses.replace(asked, fetch_site=None, origin="https://evil.example"),
    ):
        with pytest.raises(Forbidden):
            gate.decide(wrong, "read")


def test_a_trusted_origin_acts_for_a_session_and_a_wildcard_does_not(keyring: Keyring, session: str) -> None:
    console = "https://console.example"
    asked = call(method="POST", session=session, csrf=csrf_token(session), fetch_site="cross-site", origin=console)

    for listed, trusted in ((console, True), ("*", False)):
        gate = Gate(keyring, options=GateOptions(trusted_origins=Origins.of([listed])))
        if trusted:
            assert gate.decide(asked, "read").via is Via.SESSION
        else:
            with pytest.raises(Forbidden):
                gate.decide(asked, "read")


def test_a_cookie_that_no_longer_holds_is_no_credential(keyring: Keyring, session: str) -> None:
    asked = call(session=session[:-1], local=True)

    assert Gate(keyring).identify(asked).via is Via.LOCAL
    assert Gate().identify(asked).via is Via.LOCAL
    with pytest.raises(Unauthenticated):
        Gate(keyring, options=GateOptions(local_scopes=frozenset())).decide(asked, "read")


def test_a_header_goes_before_a_cookie(keyring: Keyring, session: str) -> None:
    record, text = keyring.create("ci", ["write"])

    found = Gate(keyring).decide(call(method="POST", session=session, api_key=text), "write")

    assert found.subject == f"key:{record.id}"


@pytest.mark.parametrize(
    ("given", "read"),
    [("https://app.example", "https://app.example"), ("https://APP.example:443/", "https://app.example"),
     ("http://localhost:3000", "http://localhost:3000"), ("http://[::1]:80", "http://[::1]")],
)  # fmt: skip
def test_origins_are_read_as_browsers_write_them(given: str, read: str) -> None:
    assert require_origin(given) == read


@pytest.mark.parametrize(
    "given",
    ["app.example", "https://app.example/path", "https://*.example", "null", "", "ftp://app.example",
     "https://user@app.example", "https://app.example:x", "https://app.example?x", "https://ä.example", "https://"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(InvalidValue, match="origin"):
        require_origin(given)


def test_origins_are_compared_as_a_whole() -> None:
    origins = Origins.of(["https://app.example"])

    assert origins.allows("https://app.example")
    for other in ("https://app.example.evil", "https://xapp.example", "http://app.example", "https://app.example:444"):
        assert not origins.allows(other)
    assert Origins.of(["*"]).allows("https://any.example")


@pytest.mark.parametrize(
    ("method", "site", "origin", "foreign"),
    [("GET", "cross-site", "https://evil.example", False), ("POST", "none", None, False),
     ("POST", None, None, False), ("POST", "same-origin", "https://evil.example", False),
     ("POST", None, OWN, False), ("DELETE", "same-site", None, True)],
)  # fmt: skip
def test_a_foreign_page_is_known_by_its_headers(
    method: str, site: str | None, origin: str | None, foreign: bool
) -> None:
    assert is_foreign(method=method, site=site, origin=origin, own=lambda: OWN, trusted=Origins.of([])) is foreign


def test_a_call_shows_no_credential_in_its_text(session: str) -> None:
    shown = call(session=session, api_key="qmx_secret", authorization="Bearer secret")

    assert not any(hidden in repr(shown) for hidden in (session, "secret"))
