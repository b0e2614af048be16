"""Bearer tokens of a real issuer on this machine: what holds, what is forged, and an issuer in trouble."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jws

from quadra_matrix.access.claims import ClaimRules, identity_of
from quadra_matrix.access.identity import Via
from quadra_matrix.access.issuer import FIRST_PAUSE, LARGEST, OLDEST, PATIENCE, REFRESH, Issuer, fetch
from quadra_matrix.access.jose import keys_in
from quadra_matrix.access.origins import require_secure
from quadra_matrix.access.tokens import LONGEST_TOKEN, REMEMBERED, OidcTokens
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import AccessUndecided, InvalidValue, Unauthenticated
from quadra_matrix.events.access import SigningKeysRead, SigningKeysUnreadable
from quadra_matrix.testing import FakeClock, RecordingHook
from quadra_matrix.testing.oidc import DISCOVERY, KEYS, FakeIssuer, fake_issuer
from tests.services.process import wait_until


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeIssuer]:
    with fake_issuer(clock) as issuer:
        yield issuer


@pytest.fixture
def hook() -> RecordingHook:
    return RecordingHook()


@pytest.fixture
def tokens(fake: FakeIssuer, clock: FakeClock, hook: RecordingHook) -> OidcTokens:
    issuer = Issuer(fake.url, hook=hook, clock=clock)
    return OidcTokens(issuer, ClaimRules(fake.url, "quadra"), clock=clock)


def why(tokens: OidcTokens, text: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        tokens.identify(text)
    return refused.value.reason


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_a_good_token_says_who_calls(tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock) -> None:
    found = tokens.identify(fake.token(scope="read write other:thing", email="ada@example.org", aud=["x", "quadra"]))

    assert (found.subject, found.name, found.via) == (f"{fake.url}|ada", "ada@example.org", Via.TOKEN)
    assert found.scopes == {"read", "write", "other:thing"}


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_keys_rotate(tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock, kind: str) -> None:
    tokens.identify(fake.token())
    clock.advance(FIRST_PAUSE)

    fake.rotate("second", kind=kind)

    assert tokens.identify(fake.token()).name == "ada"
    assert fake.asked == [DISCOVERY, KEYS] * 2


def test_a_key_that_was_taken_back_is_refused_within_the_bound(
    tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock
) -> None:
    stolen = fake.token(exp=int(clock.now()) + 10_000)
    tokens.identify(stolen)
    fake.rotate("second", keep=False)

    clock.advance(REFRESH)
    tokens.identify(stolen)  # the last time: it makes the keys be read again
    wait_until(lambda: len(fake.asked) == 4 and not reading(tokens), "the keys to be read")
    clock.advance(REMEMBERED)

    assert why(tokens, stolen) == "unknown key"


def reading(tokens: OidcTokens) -> bool:
    return tokens._issuer._reading is not None


def test_a_verified_token_is_not_verified_again_for_a_minute(
    tokens: OidcTokens, fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = fake.token()
    first = tokens.identify(text)
    monkeypatch.setattr("quadra_matrix.access.tokens.claims_in", None)

    assert tokens.identify(text) is first


def test_a_remembered_token_ends_when_it_expires(tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock) -> None:
    text = fake.token(exp=int(clock.now()) + 1)
    tokens.identify(text)

    clock.advance(31.0)

    assert why(tokens, text) == "expired"


CRITICAL = {"alg": "ES256", "kid": "first", "crit": ["x"], "x": 1}

HOSTILE: dict[str, tuple[Callable[[FakeIssuer], str], str]] = {
    "no signature": (lambda fake: f"{encoded({'alg': 'none'})}.{encoded(fake.claims())}.", "signature"),
    "none in capitals": (lambda fake: f"{encoded({'alg': 'NONE'})}.{encoded(fake.claims())}.", "signature"),
    "signature cut off": (lambda fake: fake.token().rpartition(".")[0] + ".", "signature"),
    "another payload": (lambda fake: swapped(fake.token(), fake.claims(sub="root")), "signature"),
    "public key as a secret": (lambda fake: confused(fake), "signature"),
    "another algorithm": (lambda fake: raw_header(fake, {"alg": "RS256", "kid": "first"}), "algorithm"),
    "another issuer's key": (lambda fake: forged(fake, {"kid": "first"}), "signature"),
    "its own key in the header": (lambda fake: embedded(fake), "signature"),
    "a key elsewhere": (lambda fake: forged(fake, {"kid": "first", "jku": "https://evil.example/keys"}), "signature"),
    "a path as key id": (lambda fake: fake.token(header={"kid": "../../dev/null"}), "unknown key"),
    "SQL as key id": (lambda fake: fake.token(header={"kid": "' UNION SELECT 'x' --"}), "unknown key"),
    "a number as key id": (lambda fake: raw_header(fake, {"alg": "ES256", "kid": 5}), "signature"),
    "a long key id": (lambda fake: raw_header(fake, {"alg": "ES256", "kid": "k" * 300}), "malformed"),
    "an unknown critical extension": (lambda fake: raw_header(fake, CRITICAL), "signature"),
    "no algorithm": (lambda fake: raw_header(fake, {"kid": "first"}), "signature"),
    "a header that is a list": (lambda fake: raw_header(fake, []), "signature"),
    "deep nesting": (lambda fake: f"{encoded(b'[' * 4000)}.{encoded(b'{}')}.x", "signature"),
    "no base64": (lambda fake: "?.?.?", "signature"),
    "two parts": (lambda fake: "a.b", "malformed"),
    "five parts, encrypted": (lambda fake: "a.b.c.d.e", "malformed"),
    "huge": (lambda fake: fake.token(padding="x" * LONGEST_TOKEN), "malformed"),
    "letters beyond ASCII": (lambda fake: "ä.b.c", "malformed"),
    "a payload that is a list": (lambda fake: signed(fake, b"[]"), "malformed"),
    "a payload that is no JSON": (lambda fake: signed(fake, b"{"), "signature"),
    "no number for an end": (lambda fake: signed(fake, b'{"exp": NaN}'), "signature"),
    "endless": (lambda fake: fake.token(exp=None), "expired"),
    "infinite": (lambda fake: fake.token(exp=10**400), "malformed"),
    "true as an end": (lambda fake: fake.token(exp=True), "malformed"),
    "a text as an end": (lambda fake: fake.token(exp="9999999999"), "malformed"),
    "over": (lambda fake: fake.token(exp=1), "expired"),
    "of tomorrow": (lambda fake: fake.token(nbf=2**40), "not yet valid"),
    "issued tomorrow": (lambda fake: fake.token(iat=2**40), "not yet valid"),
    "for somebody else": (lambda fake: fake.token(aud="other"), "audience"),
    "for nobody": (lambda fake: fake.token(aud=None), "audience"),
    "for a part of us": (lambda fake: fake.token(aud="quadra-matrix"), "audience"),
    "of somebody else": (lambda fake: fake.token(iss="https://evil.example"), "issuer"),
    "of a part of the issuer": (lambda fake: fake.token(iss=fake.url + "/"), "issuer"),
    "about nobody": (lambda fake: fake.token(sub=None), "subject"),
    "about a line break": (lambda fake: fake.token(sub="ada\nroot"), "subject"),
}  # fmt: skip


def signed(fake: FakeIssuer, payload: bytes, header: dict[str, Any] | None = None) -> str:
    return jws.serialize_compact(header or {"alg": "ES256", "kid": "first"}, payload, fake.signing)


def swapped(text: str, claims: dict[str, Any]) -> str:
    header, _, signature = text.split(".")
    return f"{header}.{encoded(claims)}.{signature}"


def raw_header(fake: FakeIssuer, header: Any) -> str:
    _, payload, signature = fake.token().split(".")
    return f"{encoded(header)}.{payload}.{signature}"


def confused(fake: FakeIssuer) -> str:
    """Sign with a shared secret that is the public key."""
    begun = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(fake.claims())}"
    return f"{begun}.{encoded(hmac.digest(fake.signing.as_pem(private=False), begun.encode(), 'sha256'))}"


def forged(fake: FakeIssuer, header: dict[str, Any]) -> str:
    own = jwk.ECKey.generate_key("P-256")
    return jws.serialize_compact({"alg": "ES256", **header}, json.dumps(fake.claims()), own)


def embedded(fake: FakeIssuer) -> str:
    own = jwk.ECKey.generate_key("P-256")
    header = {"alg": "ES256", "kid": "first", "jwk": own.as_dict(private=False)}
    return jws.serialize_compact(header, json.dumps(fake.claims()), own)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(tokens: OidcTokens, fake: FakeIssuer, name: str) -> None:
    tokens.identify(fake.token())
    make, reason = HOSTILE[name]

    assert why(tokens, make(fake)).partition(":")[0] == reason


@given(text=st.text(max_size=200))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    issuer = Issuer("http://127.0.0.1:9", fetch=no_answer, hook=lambda event: None)

    with pytest.raises((Unauthenticated, AccessUndecided)):
        OidcTokens(issuer, ClaimRules("http://127.0.0.1:9", "quadra")).identify(f"{text}.{text}.{text}")


def no_answer(url: str) -> bytes:
    raise OSError("nobody answers")


def test_invented_key_ids_ask_the_issuer_once_in_a_while(
    tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock
) -> None:
    tokens.identify(fake.token())

    for number in range(50):
        assert why(tokens, fake.token(header={"kid": f"invented {number}"})) == "unknown key"

    assert len(fake.asked) == 2


def test_many_requests_wait_for_one_reading(tokens: OidcTokens, fake: FakeIssuer) -> None:
    text = fake.token()

    with ThreadPoolExecutor(8) as pool:
        found = {identity.subject for identity in pool.map(lambda _: tokens.identify(text), range(40))}

    assert (len(found), fake.asked) == (1, [DISCOVERY, KEYS])


def test_an_issuer_that_fails_is_asked_ever_less_and_known_keys_go_on(
    tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock, hook: RecordingHook
) -> None:
    known = fake.token(exp=int(clock.now()) + 200_000)
    tokens.identify(known)
    fake.status = 500

    asked = []
    for _ in range(12):
        clock.advance(REFRESH)
        tokens.identify(known)
        wait_until(lambda: not reading(tokens), "the reading to end")
        asked.append(len(fake.asked))

    assert len(hook.of(SigningKeysUnreadable)) >= 5
    assert hook.of(SigningKeysRead) == [SigningKeysRead(fake.url, 1)]
    clock.advance(OLDEST)
    with pytest.raises(AccessUndecided):
        tokens.identify(fake.token(exp=int(clock.now()) + 600))


def test_an_issuer_that_hangs_holds_nobody_up_for_long(fake: FakeIssuer, hook: RecordingHook) -> None:
    fake.goes_on.clear()
    tokens = OidcTokens(Issuer(fake.url, hook=hook), ClaimRules(fake.url, "quadra"))
    began = SYSTEM_CLOCK.monotonic()

    with pytest.raises(AccessUndecided):
        tokens.identify(fake.token())

    assert SYSTEM_CLOCK.monotonic() - began < PATIENCE + 1.5
    fake.goes_on.set()
    wait_until(lambda: bool(hook.events), "the reading to end")


@pytest.mark.parametrize(
    ("told", "keys", "status"),
    [({"issuer": "https://evil.example"}, None, 200), ({"jwks_uri": "http://evil.example/keys"}, None, 200),
     ({"jwks_uri": 5}, None, 200), ({}, b"[]", 200), ({}, b"{", 200), ({}, b'{"keys": []}', 200),
     ({}, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', 200), ({}, b"x" * (LARGEST + 1), 200), ({}, None, 302),
     ({}, None, 404), ({}, b"[" * 100_000, 200)],
)  # fmt: skip
def test_an_issuer_that_says_nonsense_is_not_believed(
    tokens: OidcTokens, fake: FakeIssuer, hook: RecordingHook, told: dict[str, Any], keys: bytes | None, status: int
) -> None:
    fake.told, fake.keys_document, fake.status = told, keys, status

    with pytest.raises(AccessUndecided):
        tokens.identify(fake.token())

    wait_until(lambda: bool(hook.events), "the reading to end")
    assert [type(event) for event in hook.events] == [SigningKeysUnreadable]


@pytest.mark.parametrize("url", ["http://issuer.example", "ftp://127.0.0.1", "file:///etc/passwd", "", "https://"])
def test_an_issuer_is_asked_where_nobody_on_the_way_can_answer(url: str) -> None:
    with pytest.raises(InvalidValue):
        require_secure(url)
    with pytest.raises(InvalidValue):
        fetch(url)


def test_only_keys_that_can_sign_are_taken() -> None:
    good = jwk.ECKey.generate_key("P-256", {"kid": "good"}).as_dict(private=False)
    private = jwk.ECKey.generate_key("P-256", {"kid": "private"}).as_dict(private=True)
    weak = {"kty": "RSA", "kid": "weak", "n": "AQAB" * 40, "e": "AQAB"}
    wrong = [
        good | {"kid": "encrypts", "use": "enc"}, good | {"kid": 5}, good | {"kid": "broken", "x": "AA"}, weak,
        good | {"kid": "no verifier", "key_ops": ["sign"]}, {"kty": "OKP", "kid": "other"}, {}, [], "text",
    ]  # fmt: skip

    found = keys_in(json.dumps({"keys": [good, private, *wrong]}).encode())

    assert set(found) == {"good", "private"}
    assert "d" not in found["private"].key.as_dict()


def test_a_token_without_a_key_id_is_for_the_only_key(tokens: OidcTokens, fake: FakeIssuer, clock: FakeClock) -> None:
    text = signed(fake, json.dumps(fake.claims()).encode(), {"alg": "ES256"})

    assert tokens.identify(text).subject.endswith("|ada")
    fake.rotate("second")
    clock.advance(REFRESH)
    tokens.identify(fake.token())
    wait_until(lambda: not reading(tokens), "the reading to end")
    clock.advance(REMEMBERED)
    assert why(tokens, text) == "unknown key"


@pytest.mark.parametrize(
    ("claims", "rules", "scopes"),
    [({"scope": "read *  write PUBLIC public"}, {}, {"read", "write"}), ({"scope": ["read", 5, None]}, {}, {"read"}),
     ({}, {}, set()), ({"scope": {"read": 1}}, {}, set()),
     ({"realm_access": {"roles": ["operate"]}}, {"scope_claim": "realm_access.roles"}, {"operate"}),
     ({"realm_access": "x"}, {"scope_claim": "realm_access.roles"}, set()),
     ({"scope": "quadra:read write"}, {"scope_prefix": "quadra:"}, {"read"})],
)  # fmt: skip
def test_scopes_are_found_where_they_are_said_to_be(
    claims: dict[str, Any], rules: dict[str, Any], scopes: set[str]
) -> None:
    good = {"iss": "i", "aud": "a", "sub": "ada", "exp": 10}

    assert identity_of(good | claims, ClaimRules("i", "a", **rules), 5.0).scopes == scopes


def test_the_clocks_may_differ_by_the_leeway() -> None:
    rules, good = ClaimRules("i", "a", leeway=30), {"iss": "i", "aud": "a", "sub": "ada", "exp": 100.5, "nbf": 90}

    assert identity_of(good, rules, 60.0).expires == 130.5
    assert identity_of(good, rules, 130.4).subject == "i|ada"
    for now in (59.9, 130.5):
        with pytest.raises(Unauthenticated):
            identity_of(good, rules, now)


@pytest.mark.parametrize(
    "wrong", [{"issuer": ""}, {"audience": ""}, {"scope_claim": ""}, {"leeway": -1}, {"leeway": 301}]
)
def test_bad_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        ClaimRules(**{"issuer": "i", "audience": "a"} | wrong)


@pytest.mark.parametrize("algorithms", [(), ("HS256",), ("none",), ("RS256", "HS512")])
def test_an_algorithm_of_shared_secrets_cannot_be_chosen(fake: FakeIssuer, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="algorithms"):
        OidcTokens(Issuer(fake.url), ClaimRules(fake.url, "quadra"), algorithms=algorithms)


def test_no_thread_is_left_behind(tokens: OidcTokens, fake: FakeIssuer) -> None:
    tokens.identify(fake.token())

    wait_until(lambda: not any(thread.name == "quadra-issuer" for thread in threading.enumerate()), "the thread to end")
