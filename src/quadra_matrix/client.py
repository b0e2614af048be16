"""Talk to a running service: JSON in, JSON out, problem documents become errors."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from quadra_matrix.errors import ServiceError, ServiceUnreachable

TIMEOUT = 30.0
"""Seconds one request may take."""

_credential: ContextVar[tuple[str, str] | None] = ContextVar("credential", default=None)


@contextlib.contextmanager
def credential(url: str, key: str | None) -> Iterator[None]:
    """Show ``key`` with every request to the origin of ``url``, and to no other, until the block ends."""
    before = _credential.set(None if key is None else (_origin(url), key))
    try:
        yield
    finally:
        _credential.reset(before)


def credential_headers(url: str) -> dict[str, str]:
    """Return the headers that show the key of this block, if it is for the origin of ``url``."""
    held = _credential.get()
    return {} if held is None or held[0] != _origin(url) else {"Authorization": f"Bearer {held[1]}"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def request(
    url: str,
    *,
    method: str = "GET",
    body: object | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Any:
    """Return the JSON answer of ``url``, or None where the answer has no body.

    Raises ``ServiceError`` for an answer of 400 or more and ``ServiceUnreachable`` when nothing answers in ``timeout``
    seconds. Only http and https addresses are followed.
    """
    if not url.startswith(("http://", "https://")):
        raise ServiceUnreachable(url, "the address must start with http:// or https://")
    sent = {"Accept": "application/json", **(headers or {})}
    data = None
    if body is not None:
        data = json.dumps(body, allow_nan=False).encode()
        sent.setdefault("Content-Type", "application/json")
    asked = urllib.request.Request(url, data=data, headers=sent, method=method)  # noqa: S310  scheme checked above
    for name, value in credential_headers(url).items():
        asked.add_unredirected_header(name, value)  # a redirect may lead to somebody else
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as refused:
        raise ServiceError(refused.code, _problem(refused.read())) from refused
    except (OSError, TimeoutError) as failed:
        raise ServiceUnreachable(url, str(getattr(failed, "reason", failed))) from failed
    return json.loads(text) if text else None


def _problem(text: bytes) -> dict[str, Any]:
    """Return the problem document in ``text``, or one made of its first characters."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"title": "error", "detail": text[:200].decode(errors="replace")}
