"""Secrets stay inside, the rest stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.telemetry.redact import redact, redact_query

SECRET = "hunter2xyz"


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "X-Amz-Signature", "Password", "code", "sig"])
def test_secret_parameters_are_hidden(name: str) -> None:
    assert redact_query(f"page=2&{name}={SECRET}&sort=up") == f"page=2&{name}=***&sort=up"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /items?token={SECRET} 200",
        f"postgresql://user:{SECRET}@db:5432/app",
        f"redis://:{SECRET}@cache/0",
        f"https://{SECRET}@host/",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}",
        f"sent Bearer {SECRET}",
        f"{{'Cookie': 'session={SECRET}'}}",
        f"Set-Cookie: id={SECRET}; Path=/; other={SECRET}",
        f"password={SECRET}",
        f'{{"db_password": "{SECRET}"}}',
        f"API_KEY: {SECRET}",
    ],
)
def test_secrets_in_text_are_hidden(text: str) -> None:
    hidden = redact(text)

    assert SECRET not in hidden
    assert "***" in hidden


@pytest.mark.parametrize(
    "text",
    ["GET /items?page=2 200", "https://host:8443/a@b", "the key is under the mat", "3 tokens counted", "monkey=1", ""],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text
    assert redact_query(text) == text


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    redact(redact_query(text))


def test_long_text_takes_no_long_time() -> None:
    """A megabyte of the worst letters is read in linear time; a quadratic pattern would take hours."""
    for part in ("a", "=", "token", ":", "a-", "://", "a=", "x:"):
        redact(part * (100_000 // len(part)))


@given(
    st.from_regex(r"[^:=\s]{0,80}", fullmatch=True),
    st.sampled_from(["password", "Bearer", "cookie", "token", "?", "&"]),
)
def test_a_word_without_a_joint_is_what_it_was(word: str, name: str) -> None:
    """The shortcut for lone words and the whole way agree: a space before them makes the way whole."""
    for text in (word, word + name, name + word):
        assert redact(text) == redact(f" {text}")[1:]
