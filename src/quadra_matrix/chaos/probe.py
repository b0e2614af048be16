"""Watch a target by probes at a constant rate, whether earlier ones were answered or not."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from quadra_matrix.chaos.model import Probing
from quadra_matrix.chaos.samples import Sample
from quadra_matrix.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

Probe = Callable[[float], bool]
"""Asks the target once, within so many seconds, and tells whether it answered well. May raise ``OSError``."""

MOST_THREADS = 512
"""A target that answers nothing at the highest rate keeps this many probes waiting; later ones start late."""


def probe_of(url: str, *, address: str | None = None, verify: bool = True) -> Probe:
    """Return the probe of a target: a request on a new connection, or the connection itself for ``tcp://``.

    A new connection each time, because a fault may meet only those. ``address`` is the ``host:port`` to connect to in
    the target's place; the request and the certificate are still the target's.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host, _, at = (address or f"{parts.hostname}:{port}").rpartition(":")
    place = host, int(at)
    if parts.scheme == "tcp":
        return lambda timeout: _connects(place, timeout)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(timeout: float) -> bool:
        line = http.client.HTTPConnection(parts.hostname or host, port, timeout=timeout)
        try:
            line.sock = socket.create_connection(place, timeout)
            if context is not None:
                line.sock = context.wrap_socket(line.sock, server_hostname=parts.hostname)
            line.request("GET", path, headers={"Connection": "close", "User-Agent": "quadra-chaos"})
            answer = line.getresponse()
            answer.read()
            return answer.status < 400
        except http.client.HTTPException:
            return False
        finally:
            line.close()

    return ask


class Prober:
    """Probes a target from ``with`` to the end of it, on threads of its own. ``seen`` may be called from any thread."""

    def __init__(self, probe: Probe, probing: Probing, clock: Clock = SYSTEM_CLOCK) -> None:
        self._probe, self._probing, self._clock = probe, probing, clock
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._waiting: set[float] = set()
        self._over = threading.Event()
        threads = min(MOST_THREADS, ceil(probing.rate * probing.timeout) + 8)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="chaos-probe")
        self._start = clock.monotonic()
        self._pace = threading.Thread(target=self._keep_pace, name="chaos-pace", daemon=True)

    def __enter__(self) -> Self:
        self._start = self._clock.monotonic()
        self._pace.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pace.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def elapsed(self) -> float:
        """Return the seconds since the start: the time of the samples."""
        return self._clock.monotonic() - self._start

    def seen(self, since: float = 0.0, until: float = float("inf")) -> list[Sample]:
        """Return the samples that were due from ``since`` to before ``until``, in order, up to the first unanswered."""
        with self._lock:
            until = min(until, min(self._waiting, default=until))
            found = [sample for sample in self._samples if since <= sample.at < until]
        return sorted(found, key=lambda sample: sample.at)

    def _keep_pace(self) -> None:
        """Start each probe when it is due."""
        number = 0
        while not self._over.wait(max(0.0, self._start + number / self._probing.rate - self._clock.monotonic())):
            due = number / self._probing.rate
            with self._lock:
                self._waiting.add(due)
            self._pool.submit(self._ask, due)
            number += 1

    def _ask(self, due: float) -> None:
        """Probe once; the time counts from when it was due."""
        timeout = self._probing.timeout
        try:
            ok = self._probe(timeout)
        except OSError:
            ok = False
        except Exception:  # the edge to a probe of a user's: one that raises has not seen a good answer
            log.exception("the probe failed")
            ok = False
        seconds = self._clock.monotonic() - self._start - due
        with self._lock:
            self._samples.append(Sample(due, seconds, ok and seconds <= timeout))
            self._waiting.discard(due)


def _connects(place: tuple[str, int], timeout: float) -> bool:
    with socket.create_connection(place, timeout):
        return True
