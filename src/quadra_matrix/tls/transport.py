"""How requests to a certificate authority travel: each in time, all before one deadline, no answer without end."""

from __future__ import annotations

import datetime as dt
import io
import math
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quadra_matrix.clock import Clock
from quadra_matrix.errors import MissingExtra

try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
except ImportError as missing:
    raise MissingExtra("acme", "tls") from missing

if TYPE_CHECKING:
    from requests._types import TimeoutType, VerifyType

PATIENCE = 30.0
"""Seconds that one step of a request may take: to connect, or to send the next part of an answer."""

LARGEST = 1 << 20
"""Bytes; a chain of certificates has some ten thousand."""


class Transport(HTTPAdapter):
    """Carry the requests of one conversation. Not for several threads."""

    def __init__(self, *, roots: Path | None, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._roots, self._clock = roots, clock
        self._deadline = clock.monotonic() + seconds
        self.retry_after: float | None = None
        """Seconds that the last answer asked us to wait, if it did."""

    @property
    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self._deadline - self._clock.monotonic()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: TimeoutType = None,
        verify: VerifyType = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Return the answer, which is in memory."""
        self.retry_after = None
        if self.left <= 0:
            raise requests.Timeout("the conversation has taken too long")
        trusted = str(self._roots) if self._roots else verify
        response = super().send(request, True, min(PATIENCE, self.left), trusted, cert, proxies)
        try:
            response.raw = io.BytesIO(self._body(response))
        except urllib3.exceptions.HTTPError as broken:
            response.close()
            raise requests.ConnectionError(str(broken), request=request) from broken
        self.retry_after = seconds_of(response.headers.get("Retry-After"), self._clock.now())
        return response

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        # read1: stream() would wait for the whole of a part, which a server that trickles never sends.
        while part := response.raw.read1(65536, decode_content=True):
            body += part
            if len(body) > LARGEST or self.left <= 0:
                response.close()
                raise requests.Timeout(f"the answer has more than {LARGEST} bytes, or takes too long")
        return bytes(body)


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Return how long a ``Retry-After`` asks to wait, whether it holds seconds or a date; None if it says nothing.

    >>> seconds_of("120", 0), seconds_of("Thu, 01 Jan 1970 00:01:00 GMT", 15), seconds_of("soon", 0)
    (120.0, 45.0, None)
    """
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = moment.replace(tzinfo=moment.tzinfo or dt.UTC).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else None
