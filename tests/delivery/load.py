"""Steady requests on keep-alive connections from threads, with what became of each."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Load:
    """Answers by body, failures by what failed."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def count(self, status: int, body: bytes) -> None:
        if status == 200:
            self.answers[body.decode()] += 1
        else:
            self.failures[str(status)] += 1


def _request(connection: http.client.HTTPConnection, load: Load) -> None:
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        load.count(answer.status, answer.read())
    except (OSError, http.client.HTTPException) as failed:
        load.failures[type(failed).__name__] += 1
        connection.close()


@contextmanager
def steady(port: int, rate: float, threads: int = 4) -> Iterator[Load]:
    """Send ``rate`` requests a second until the block ends."""
    load, over = Load(), threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        due = time.monotonic()
        while not over.is_set():
            _request(connection, load)
            due += threads / rate
            over.wait(max(0.0, due - time.monotonic()))
        connection.close()

    running = [threading.Thread(target=client, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in running:
            thread.join(15)
