"""The process of a fault proxy: ``python -m quadra_matrix.chaos.proxy LISTEN TARGET CONTROL [--stay]``.

It prints its port, then passes connections on. What it does to them is ordered over the unix socket ``CONTROL``, one
JSON value a line, and ends by itself when the order is not renewed within its lease. At the end of standard input
(its owner has ended, however) it disturbs nothing any more, and ends with its connections; ``--stay`` never ends so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import selectors
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quadra_matrix.chaos.proxy.disturbance import Disturbance, Down
from quadra_matrix.chaos.proxy.relay import Relay
from quadra_matrix.errors import InvalidValue

LINGER = 1.0
"""Seconds the open connections have to end, after the owner has."""
COUNTED = ("requests", "bytes", "held", "error", "abort", "reset", "unreachable")


class FineSelector(selectors.EpollSelector):
    """Waits to the microsecond: epoll alone rounds up to a millisecond, which is an error of every latency."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, after at most ``timeout`` seconds."""
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


class Control:
    """Carries out orders. For one event loop."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._lease = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the orders of one connection."""
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            async for line in reader:
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Carry out one order and say how things are."""
        try:
            self._obey(json.loads(line))
        except (ValueError, TypeError, KeyError) as wrong:  # InvalidValue is a ValueError
            return {"refused": str(wrong)}
        counts = self._relay.counts
        told = {name: counts[name] for name in COUNTED}
        return {"is_clear": self._relay.disturbance.is_clear, **told}

    def lift(self) -> None:
        """Disturb nothing any more."""
        if self._end is not None:
            self._end.cancel()
        self._relay.lift()

    def _obey(self, order: Mapping[str, Any]) -> None:
        match order["do"]:
            case "disturb":
                options = dict(order["disturbance"])
                options["down"] = Down(options.get("down", Down.NO))
                self._relay.disturb(Disturbance(**options), int(order["seed"]))
                self._lease = float(order["lease"])
                self._renew()
            case "renew" if not self._relay.disturbance.is_clear:
                self._renew()
            case "lift":
                self.lift()
            case "renew" | "state":
                pass
            case other:
                raise InvalidValue("do", other, "disturb, renew, lift or state")

    def _renew(self) -> None:
        """Let what is in force end one lease from now."""
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(self._lease, self._relay.lift)


async def run(listen: str, target: str, control: str, *, stay: bool) -> None:
    """Pass connections on until the owner is gone, or SIGTERM."""
    (host, port), (target_host, target_port) = _address(listen), _address(target)
    relay = Relay(target_host, target_port)
    orders, over, loop = Control(relay), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    if not stay:
        loop.add_reader(sys.stdin.fileno(), over.set)  # nobody writes to it: it becomes readable at its end
    server = await asyncio.start_server(relay.serve, host, port, backlog=1024)
    told = await asyncio.start_unix_server(orders.serve, control)
    Path(control).chmod(0o600)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")  # the owner waits for it
    sys.stdout.flush()
    try:
        await over.wait()
    finally:
        orders.lift()
        server.close()
        told.close()
        Path(control).unlink(missing_ok=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while not relay.is_idle():
                await asyncio.sleep(0.02)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FineSelector())) as runner:
        runner.run(run(*sys.argv[1:4], stay="--stay" in sys.argv[4:]))
