"""What must not leave the process: secrets in query strings, addresses, headers and free text become ``***``."""

from __future__ import annotations

import re

HIDDEN = "***"
LONGEST_NAME = 128
"""Characters; a longer name is not looked at, and hides its value."""

_NAME = re.compile(
    r"(?:[\w.-]*(?:token|secret|passw(?:or)?d|passwd|pwd|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]*"
    r"|auth|authorization|proxy-authorization|cookie|set-cookie|x-api-key|key|code|sig|signature|x-amz-signature"
    r"|session|sessionid|sid|jwt|otp|pin)",
    re.IGNORECASE | re.ASCII,
)
# Every repetition that may be tried again from the next letter is bounded: text comes from strangers.
_PARAMETER = re.compile(r"(^|[?&;])([^=&;\s]+)=([^&;\s]*)")
_USER = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/@\s:]{0,256}:[^/@\s]{0,256}@|(\b[a-z][a-z0-9+.-]{0,20}://)[^/@\s:]{1,256}@",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_HEADER = re.compile(
    r"\b(authorization|proxy-authorization|cookie|set-cookie|x-api-key)\b(['\"]?\s*[:=]\s*)[^\r\n]+", re.I
)
_ASSIGNED = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[_-]?key)[\w-]{0,40})(['\"]?\s*[:=]\s*['\"]?)([^\s'\",;&)}\]]+)",
    re.I,
)
_KEY = re.compile(r"\b(qm[xs]_[0-9A-Za-z]{12}_)[0-9A-Za-z]{38}")
"""Our own keys and sessions; the first part of them may be shown."""
_TOKEN = re.compile(r"\beyJ[\w-]{4,}\.[\w-]{2,}\.[\w-]*", re.ASCII)
"""Signed tokens (JWT): every one begins with the base64 of ``{"``."""

_JOINT = re.compile(r"[:=\s]")
"""What stands between a name and its secret in every form but keys and tokens: a lone word, such as a model's name,
needs no closer look."""


def is_secret_name(name: str) -> bool:
    """Tell whether a field, header or parameter of this name holds a secret.

    >>> [is_secret_name(name) for name in ("Authorization", "refresh_token", "DB_PASSWORD", "page", "monkey")]
    [True, True, True, False, False]
    """
    return len(name) > LONGEST_NAME or _NAME.fullmatch(name) is not None


def redact_query(query: str) -> str:
    """Return a query string with the values of secret parameters hidden.

    >>> redact_query("page=2&token=abc")
    'page=2&token=***'
    """
    query = redact_keys(query)
    if "=" not in query:
        return query
    return _PARAMETER.sub(_hide_parameter, query)


def redact_keys(text: str) -> str:
    """Return text, such as the path of an address, with API keys and signed tokens hidden.

    >>> redact_keys("/jobs/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2ln")
    '/jobs/***'
    """
    if "qm" in text:
        text = _KEY.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text) if "eyJ" in text else text


def redact(text: str) -> str:
    """Return free text with passwords in addresses, credentials, secret headers and assigned secrets hidden.

    >>> redact("connect to postgresql://me:hunter2@db/x with token=abc")
    'connect to postgresql://***@db/x with token=***'
    """
    text = redact_keys(text)
    if _JOINT.search(text) is None:
        return text
    if "://" in text:
        text = _USER.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}@", text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _PARAMETER.sub(_hide_parameter, _ASSIGNED.sub(rf"\1\2{HIDDEN}", text))


def _hide_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={HIDDEN}" if is_secret_name(found[2]) else found[0]
