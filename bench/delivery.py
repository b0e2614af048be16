"""Switches, ramps and kills on one machine under load: does any request fail, and how long is the old version used?

    nice python bench/delivery.py [--switches 100] [--ramps 20] [--kills 8]

24 connections, 50 ms between their requests, against the real proxy and two real versions (5 ms each); half of the
rounds on kept connections, half on new ones. A switch and a ramp are the same calls that `quadra bluegreen` and
`quadra canary` make.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from quadra_matrix.delivery.fleet import Command, Fleet
from quadra_matrix.delivery.local import LocalTraffic, LocalWorkload, Machine
from quadra_matrix.delivery.model import Route

CLIENTS = 24
PAUSE = 0.05
"""Seconds a client thinks between two requests: a queue in the clients would be measured otherwise."""
SERVER = Path(__file__).parents[1] / "tests" / "delivery" / "versions.py"
RAMP = (10, 25, 50, 75, 100)


@dataclass
class Log:
    """Every request: when it started and ended, and who answered ('' for a failure). Complete once the load ended."""

    requests: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(not answer for _, _, answer in self.requests)


async def one(port: int, log: Log, keep: bool, over: asyncio.Event) -> None:
    """Send requests one after the other."""
    streams = None
    while not over.is_set():
        began, answer = time.monotonic(), ""
        try:
            streams = streams or await asyncio.open_connection("127.0.0.1", port)
            reader, writer = streams
            closing = b"" if keep else b"Connection: close\r\n"
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + closing + b"\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            fields = head.lower().split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in fields if line.startswith(b"content-length"))
            body = (await reader.readexactly(length)).decode()
            answer = body if head.split()[1] == b"200" else ""
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            answer = ""
        if (not keep or not answer) and streams:
            streams[1].close()
            streams = None
        log.requests.append((began, time.monotonic(), answer))
        await asyncio.sleep(PAUSE)
    if streams:
        streams[1].close()


async def send(port: int, keep: bool) -> Log:
    """Send requests on every connection until SIGTERM."""
    log, over = Log(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print("sending", flush=True)
    await asyncio.gather(*(one(port, log, keep, over) for _ in range(CLIENTS)))
    return log


@contextmanager
def load(port: int, keep: bool) -> Iterator[Log]:
    """Run the clients in a process of their own: they must not share an interpreter with the commands."""
    log = Log()
    words = [sys.executable, __file__, "--load", str(port), *(["--keep"] if keep else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as clients:
        assert clients.stdout is not None
        clients.stdout.readline()
        try:
            yield log
        finally:
            clients.send_signal(signal.SIGTERM)
            out, _ = clients.communicate(timeout=60)
            log.requests.extend((start, end, who) for start, end, who in json.loads(out))


def until(holds, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def shift(traffic: LocalTraffic, weights: dict[str, float]) -> tuple[float, float]:
    """Write a route; return when the command began and ended."""
    read = traffic.read()
    began = time.monotonic()
    traffic.write(Route(weights), read.revision)
    return began, time.monotonic()


def switches(traffic: LocalTraffic, port: int, count: int) -> dict[str, object]:
    commands, late, after, total, failed = [], [], 0, 0, 0
    for keep in (True, False):
        made = []
        with load(port, keep) as log:
            time.sleep(1.0)
            for number in range(count // 2):
                new, old = ("v2", "v1") if number % 2 == 0 else ("v1", "v2")
                made.append((*shift(traffic, {new: 100.0}), old))
                time.sleep(0.2)
            over = shift(traffic, {"v1": 100.0})
        for (began, ended, old), following in zip(made, [*made[1:], over], strict=True):
            mine = [(start, end) for start, end, who in log.requests if who == old and began <= end < following[0]]
            commands.append((ended - began) * 1000)
            after += sum(start > ended for start, _ in mine)
            late.append(max((end - began for _, end in mine), default=0.0) * 1000)
        total, failed = total + len(log.requests), failed + log.failed
    late.sort()
    return {
        "switches": len(commands),
        "requests": total,
        "failed": failed,
        "command_ms": {"median": round(median(commands), 2), "max": round(max(commands), 2)},
        "command_to_last_old_ms": {
            "median": round(median(late), 1),
            "p99": round(late[math.ceil(0.99 * len(late)) - 1], 1),
            "max": round(late[-1], 1),
        },
        "started_after_the_command_and_answered_by_old": after,
    }


def ramps(traffic: LocalTraffic, port: int, count: int) -> dict[str, object]:
    total, failed = 0, 0
    answered: dict[int, list[tuple[int, int]]] = {share: [] for share in RAMP}
    for number in range(count):
        made = []
        with load(port, keep=number % 2 == 0) as log:
            time.sleep(0.5)
            for share in RAMP:
                _, ended = shift(traffic, {"v2": float(share), "v1": 100.0 - share})
                time.sleep(1.5)
                made.append((share, ended, time.monotonic()))
            shift(traffic, {"v1": 100.0})
        for share, start, end in made:
            window = [who for began, _, who in log.requests if start <= began < end and who]
            answered[share].append((window.count("v2"), len(window)))
        total, failed = total + len(log.requests), failed + log.failed
    achieved = {
        share: round(100 * sum(a for a, _ in found) / sum(n for _, n in found), 2) for share, found in answered.items()
    }
    worst = {share: round(max(abs(100 * a / n - share) for a, n in found), 2) for share, found in answered.items()}
    size = round(median(n for found in answered.values() for _, n in found))
    return {
        "ramps": count,
        "requests": total,
        "failed": failed,
        "achieved": achieved,
        "requests_in_a_window": size,
        "worst_window_difference": worst,
    }


def kills(machine: Machine, port: int, count: int) -> dict[str, object]:
    """Kill the version that answers; the other one stands by in the proxy, the supervisor starts the dead one again."""
    runs, workload = [], LocalWorkload(machine)
    for number in range(count):
        until(lambda: workload.ready("v1").is_full and workload.ready("v2").is_full)
        time.sleep(1.0)
        with load(port, keep=number % 2 == 0) as log:
            time.sleep(1.0)
            victim = machine.read().deployed["v1"].instances[0]
            os.kill(victim.process.pid, signal.SIGKILL)
            until(lambda gone=victim.process: not machine.processes.lives(gone))
            killed = time.monotonic()  # on a busy machine a killed process reads its last requests a little later
            time.sleep(0.1)
            until(lambda: machine.tend() or workload.ready("v1").is_full)
            time.sleep(0.5)
        failures = [(start, end) for start, end, who in log.requests if not who]
        runs.append(
            {
                "requests": len(log.requests),
                "failed": len(failures),
                "started_after_the_kill": sum(start > killed for start, _ in failures),
            }
        )
    return {"kills": count, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--ramps", type=int, default=20)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "delivery.json")
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(asyncio.run(send(options.load, options.keep)).requests))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = (sys.executable, str(SERVER), "--port", "{port}", "--version", "{version}", "--delay", "5")
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        machine.up(Fleet(port), "v1", Command(words, folder))
        try:
            machine.declare("v2", None)
            until(machine.proxy.is_live)
            machine.start("v2")
            workload, traffic = LocalWorkload(machine), LocalTraffic(machine)
            until(lambda: workload.ready("v1").is_full and workload.ready("v2").is_full)
            results = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"}
            parts = {
                "switches": lambda: switches(traffic, port, options.switches),
                "ramps": lambda: ramps(traffic, port, options.ramps),
                "kills": lambda: kills(machine, port, options.kills),
            }
            for name, measure in parts.items():
                if not getattr(options, name):  # 0 keeps what was measured before
                    results[name] = json.loads(options.out.read_text())[name]
                    continue
                results[name] = measure()
                print(json.dumps(results[name]), flush=True)
        finally:
            machine.down()
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
