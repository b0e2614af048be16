"""Post telemetry over HTTP within a deadline that holds."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from quadra_matrix.telemetry.export import NotDelivered

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Answers after which the same batch may be taken later."""


class Post:
    """Posts bodies to one address. ``timeout`` bounds a whole exchange in seconds, a trickling answer included.

    The time a name takes to resolve is the operating system's; it delays the exporting thread alone.
    """

    def __init__(self, url: str, *, content_type: str, headers: Mapping[str, str], timeout: float) -> None:
        address = urlsplit(url)
        self._is_secure = address.scheme == "https"
        self._host, self._port = address.hostname or "", address.port or (443 if self._is_secure else 80)
        self._path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        self._place = f"{self._host}:{self._port}"
        self._headers = {"Content-Type": content_type, "User-Agent": "quadra-matrix", **headers}
        self._timeout = timeout

    def __call__(self, body: bytes) -> None:
        """Send ``body``; raise ``NotDelivered`` unless the answer is a success."""
        connection = self._connect()
        # A socket's own timeout starts again with every byte; this one does not.
        deadline = threading.Timer(self._timeout, _cut, (connection,))
        deadline.daemon = True
        deadline.start()
        try:
            connection.request("POST", self._path, body, self._headers)
            with connection.getresponse() as answer:
                status = answer.status
        except (OSError, http.client.HTTPException) as failed:
            raise NotDelivered(f"{self._place} does not answer ({failed})", may_retry=True) from failed
        finally:
            deadline.cancel()
            connection.close()
        if status >= 300:
            raise NotDelivered(f"{self._place} answered {status}", may_retry=status in RETRIED)

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End the exchange, whichever call it hangs in."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it ended by itself
