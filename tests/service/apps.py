"""WSGI applications small enough to see the server behind them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from quadra_matrix.service.settings import Settings

Start = Callable[[str, list[tuple[str, str]]], object]


def tiny(settings: Settings) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    """Answer the worker's process number at /, readiness, and one request that takes two seconds."""

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/slow":
            threading.Event().wait(2)
        ready = path != "/health/ready" or not settings.stopping_file.exists()
        start("200 OK" if ready else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]

    return answer


def serve_with(app: str) -> None:
    """Run the whole service around an application, with the work of the tests."""
    from quadra_matrix.service.serve import serve
    from quadra_matrix.service.settings import load
    from tests.service.jobs.kinds import KINDS

    serve(load(), app=app, kinds=KINDS)
