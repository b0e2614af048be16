"""Hear what happens to a job, through every loss of the connection, until it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import connect

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import ServiceUnreachable
from quadra_matrix.service.messages import WebSocketMessage

PATIENCE = 30.0
"""Seconds without a connection after which following gives up: longer than a restart of the service takes."""

BETWEEN_TRIES = 0.5
"""Seconds before the next try to connect."""


def hub_of(url: str) -> str:
    """Return the address of the hub beside a service: the same host and the next port, as the defaults are.

    >>> hub_of("http://127.0.0.1:5000")
    'ws://127.0.0.1:5001/ws'
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{'wss' if secure else 'ws'}://{host}:{(parts.port or (443 if secure else 80)) + 1}/ws"


def follow(
    hub: str,
    job: str,
    *,
    headers: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[WebSocketMessage]:
    """Yield every event of a job from its first to its last, each once. ``headers`` show who listens.

    Raises ``ServiceUnreachable`` when the hub refuses, or cannot be reached for ``patience`` seconds.
    """
    after, heard = 0, clock.monotonic()
    while True:
        reason = "the hub closed the connection"
        try:
            with connect(f"{hub}?job={job}&after={after}", open_timeout=patience, additional_headers=headers) as socket:
                for text in socket:
                    news = WebSocketMessage.model_validate_json(text)
                    after, heard = news.sequence, clock.monotonic()
                    yield news
                    if news.data.state.is_over:
                        return
        except InvalidURI as wrong:
            raise ServiceUnreachable(hub, str(wrong)) from wrong
        except (OSError, WebSocketException) as lost:
            reason = str(lost)
            if isinstance(lost, InvalidStatus) and lost.response.status_code < 500:
                raise ServiceUnreachable(hub, reason) from lost
        if clock.monotonic() - heard > patience:
            raise ServiceUnreachable(hub, reason)
        clock.sleep(BETWEEN_TRIES)
