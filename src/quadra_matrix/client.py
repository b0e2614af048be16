"""Talk to a running service: JSON in, JSON out, problem documents become errors."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from quadra_matrix.errors import ServiceError, ServiceUnreachable

TIMEOUT = 30.0
"""Seconds one request may take."""


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
