"""How close faults come to what was asked, beside stress-ng (Debian package) in the same interleaved rounds.

Run: ``python bench/chaos.py`` (``--rounds 3``; ``--write`` keeps the JSON and the table in docs). Needs Linux, root and
control groups of version 1 for memory. The level is read from the kernel, by the same reader for both: the use of one
processor over ten seconds, and memory in use of a control group of 1 GiB. Latency is measured by a client that asks the
same server directly and through the proxy. Other load on the machine counts as its own: the load is told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from quadra_matrix.chaos.limits import MemoryLimit, busy_of  # noqa: E402
from quadra_matrix.chaos.proxy.disturbance import Disturbance  # noqa: E402
from quadra_matrix.chaos.proxy.launch import Proxy  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "chaos.json"
PAGE = ROOT / "docs" / "explanation" / "chaos.md"
GROUP = Path("/sys/fs/cgroup/memory") / "quadra-bench"
LIMIT = 1 << 30
CPU = os.cpu_count() or 1
ASKED = {"latency": (0.05, 0.5, 2.0), "cpu": 80.0, "memory": 70.0}
REQUESTS = {0.05: 100, 0.5: 20, 2.0: 5}
"""Latency -> requests a round."""


@contextmanager
def echo() -> Iterator[str]:
    """A server that answers each line at once, in a process of its own."""
    program = (
        "import socketserver\n"
        "class Echo(socketserver.StreamRequestHandler):\n"
        "    def handle(self):\n"
        "        for line in self.rfile: self.wfile.write(line)\n"
        "server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Echo)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


def asked(address: str, requests: int) -> list[float]:
    """Return the seconds of each request on one connection, rising."""
    host, _, port = address.rpartition(":")
    found = []
    with socket.create_connection((host, int(port))) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            start = time.perf_counter()
            line.sendall(b"x\n")
            line.recv(10)
            found.append(time.perf_counter() - start)
    return sorted(found)


def latency(rounds: int) -> dict[str, object]:
    """Measure what the proxy adds, at rest and when asked."""
    found: dict[str, list[float]] = {}
    idle = []
    with echo() as server, tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(server, control=Path(folder) / "proxy")
        try:
            for _ in range(rounds):
                direct = statistics.median(asked(server, 300))
                proxy.undo.apply()
                idle.append(statistics.median(asked(proxy.address, 300)) - direct)
                for seconds, requests in REQUESTS.items():
                    proxy.disturb(Disturbance(latency=seconds), seed=0, lease=120)
                    found.setdefault(f"{seconds:g}", []).extend(
                        took - direct for took in asked(proxy.address, requests)
                    )
        finally:
            proxy.close()
    return {
        "idle_ms": 1000 * statistics.median(idle),
        "added_ms": {
            name: {
                "p50": 1000 * statistics.median(times),
                "p99": 1000 * sorted(times)[min(len(times) - 1, int(0.99 * len(times)))],
            }
            for name, times in found.items()
        },
    }


@contextmanager
def ours(kind: str, percent: float, pid: int) -> Iterator[None]:
    words = [sys.executable, "-m", "quadra_matrix.chaos.faults.burden", kind, str(percent), str(pid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as burden:
        assert burden.stdin is not None
        burden.stdin.write(b"go\n")
        burden.stdin.flush()
        yield
        burden.stdin.close()
        burden.wait()


@contextmanager
def stress(kind: str, percent: float, pid: int) -> Iterator[None]:
    program = shutil.which("stress-ng")
    if program is None:
        raise SystemExit("stress-ng is missing; install it with: apt-get install stress-ng")
    load = ["--cpu", "1", "--cpu-load", str(int(percent)), "--taskset", str(CPU - 1)]
    memory = ["--vm", "1", "--vm-bytes", str(int(LIMIT * percent / 100)), "--vm-keep", "--vm-hang", "0"]
    words = [program, *(load if kind == "cpu" else memory), "--temp-path", tempfile.gettempdir(), "--quiet"]

    def join() -> None:
        if kind == "memory":
            (GROUP / "cgroup.procs").write_text(str(os.getpid()))

    with subprocess.Popen(words, preexec_fn=join, start_new_session=True) as peer:
        yield
        os.killpg(peer.pid, 15)
        peer.wait()


PEERS = {"Quadra Matrix": ours, "stress-ng": stress}


def cpu_level() -> float:
    """Return the use of one processor over ten seconds."""
    time.sleep(3)
    first = busy_of((CPU - 1,))
    time.sleep(10)
    then = busy_of((CPU - 1,))
    return 100 * (then[0] - first[0]) / (then[1] - first[1])


def memory_level() -> float:
    """Return the mean use of the control group over two seconds, once it is reached."""
    time.sleep(4)
    memory = MemoryLimit(LIMIT, GROUP)
    found = []
    for _ in range(20):
        found.append(memory.percent())
        time.sleep(0.1)
    return statistics.mean(found)


def levels(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure each level by each program, interleaved."""
    found: dict[str, dict[str, list[float]]] = {}
    GROUP.mkdir(exist_ok=True)
    resident = subprocess.Popen([sys.executable, "-c", "x = bytes(50_000_000); import time; time.sleep(3600)"])
    try:
        (GROUP / "memory.limit_in_bytes").write_text(str(LIMIT))
        (GROUP / "cgroup.procs").write_text(str(resident.pid))
        os.sched_setaffinity(resident.pid, {CPU - 1})
        time.sleep(1)
        for _ in range(rounds):
            for kind, level in (("cpu", cpu_level), ("memory", memory_level)):
                for name, start in PEERS.items():
                    with start(kind, float(str(ASKED[kind])), resident.pid):
                        found.setdefault(kind, {}).setdefault(name, []).append(level())
    finally:
        resident.kill()
        resident.wait()
        time.sleep(0.5)
        GROUP.rmdir()
    return found


def table(found: dict[str, object]) -> tuple[list[str], bool]:
    """Return the rows, and whether every goal is met."""
    rows = ["| asked | Quadra Matrix | stress-ng | goal | met |", "|---|---|---|---|---|"]
    network, reached, is_met = found["latency"], found["levels"], True
    assert isinstance(network, dict)
    assert isinstance(reached, dict)
    for name, added in network["added_ms"].items():
        milliseconds = 1000 * float(name)
        goal = max(0.01 * milliseconds, 2)
        met = abs(added["p50"] - milliseconds) <= goal
        is_met &= met
        rows.append(
            f"| latency {milliseconds:g} ms | p50 {added['p50']:.1f}, p99 {added['p99']:.1f} ms | - "
            f"| p50 within {goal:g} ms | {'yes' if met else 'no'} |"
        )
    rows.append(f"| no latency | {network['idle_ms']:.2f} ms | - | told | - |")
    for kind, points in (("cpu", 2), ("memory", 1)):
        asked_for = float(str(ASKED[kind]))
        cells = dict(reached[kind])
        middle = {name: statistics.median(values) for name, values in cells.items()}
        met = abs(middle["Quadra Matrix"] - asked_for) <= points
        is_met &= met
        shown = " | ".join(f"{middle[name]:.2f} % ({min(v):.1f} to {max(v):.1f})" for name, v in cells.items())
        rows.append(f"| {kind} {asked_for:g} % | {shown} | within {points} points | {'yes' if met else 'no'} |")
    return rows, is_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    found: dict[str, object] = {"latency": latency(options.rounds), "levels": levels(options.rounds)}
    found["machine"] = {"cpus": CPU, "python": platform.python_version(), "load_before": before}
    rows, is_met = table(found)
    print("\n".join(rows))
    print(f"load before: {before:.1f} on {CPU} processors")
    if options.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        told = "\n".join(
            [*rows, "", f"Load before the run: {before:.1f} on {CPU} processors, {options.rounds} rounds."]
        )
        text = f"<!-- dose -->\n{told}\n<!-- /dose -->"
        PAGE.write_text(re.sub(r"<!-- dose -->.*<!-- /dose -->", text, PAGE.read_text(), flags=re.DOTALL))
    return int(not is_met)


if __name__ == "__main__":
    raise SystemExit(main())
