"""Start a fault proxy, order what it does, end it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quadra_matrix.chaos.proxy.disturbance import Disturbance
from quadra_matrix.chaos.undo import LiftProxy, ask
from quadra_matrix.errors import FaultFailed

START_WITHIN = 30.0
"""Seconds a proxy may take to listen; the machine may be under pressure."""


class Proxy:
    """A fault proxy, as a child of this process. It ends with it, however that ends."""

    def __init__(self, target: str, *, listen: str = "127.0.0.1:0", control: Path) -> None:
        """Start the proxy in front of ``host:port``; return once it listens. Raises ``FaultFailed``."""
        self.control = str(control)
        self._process = subprocess.Popen(  # noqa: S603  the interpreter that runs us, and our own module
            [sys.executable, "-m", "quadra_matrix.chaos.proxy", listen, target, self.control],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.address = f"{listen.rpartition(':')[0]}:{self._port()}"
        """Where it listens."""

    @property
    def undo(self) -> LiftProxy:
        """What makes it transparent."""
        return LiftProxy(self.control)

    def disturb(self, disturbance: Disturbance, *, seed: int, lease: float) -> None:
        """Disturb every request from now on, until lifted or not renewed for ``lease`` seconds."""
        order = {"do": "disturb", "disturbance": asdict(disturbance), "seed": seed, "lease": lease}
        try:
            answer = ask(self.control, order)
        except OSError as failed:
            raise FaultFailed("the proxy", str(failed)) from failed
        if "refused" in answer:
            raise FaultFailed("the proxy", answer["refused"])

    def renew(self) -> None:
        """Keep up what is in force for another lease. Raises ``OSError``."""
        ask(self.control, {"do": "renew"})

    def state(self) -> dict[str, Any]:
        """Return whether it is transparent, and its counts. Raises ``OSError``."""
        return ask(self.control, {"do": "state"})

    def bytes_a_request(self) -> float:
        """Return the size of a request and its answer, as the mean of all that passed. Raises ``OSError``."""
        passed = self.state()
        return float(passed["bytes"]) / float(max(1, passed["requests"]))

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _port(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_WITHIN)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.close()
            raise FaultFailed("the proxy", "it did not begin to listen")
        port: int = json.loads(line)["port"]
        return port
