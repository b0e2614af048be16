"""A service that counts requests it never had: the same rate in every pod, failing as often as it is told.

It needs nothing but Python, so its image is built in a moment; the fake cluster calls ``page`` without any image.
"""

from __future__ import annotations

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE = 50.0
"""Requests a second that a pod counts."""


def page(path: str, age: float, error_rate: float) -> tuple[int, str]:
    """Return status and text of a page, for a process of this age in seconds."""
    if path != "/metrics":
        return (200, "ok\n") if path.startswith("/health") else (404, "no such page\n")
    requests = int(age * RATE)
    errors, late = int(requests * error_rate), int(requests * 0.02)
    buckets = {"0.005": requests - late, "0.25": requests - late, "0.5": requests, "+Inf": requests}
    lines = [
        f'quadra_http_requests_total{{status="200"}} {requests - errors}',
        f'quadra_http_requests_total{{status="500"}} {errors}',
        *(f'quadra_http_request_duration_seconds_bucket{{le="{le}"}} {count}' for le, count in buckets.items()),
    ]
    return 200, "\n".join(lines) + "\n"


class Shop(BaseHTTPRequestHandler):
    """Answers requests."""

    began = time.monotonic()
    error_rate = float(os.environ.get("ERROR_RATE", "0"))

    def do_GET(self) -> None:
        status, text = page(self.path, time.monotonic() - self.began, self.error_rate)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("", 5000), Shop).serve_forever()
