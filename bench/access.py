"""What access costs a request, beside the extensions a user would pick instead, and what a Redis that hangs costs.

Run: ``python bench/access.py`` (``--rounds 15``; ``--write`` keeps the JSON and the table in docs). Costs are processor
time of one process, an app with the feature minus the bare one, medians of interleaved rounds. The peers live in an
environment that the script makes once, with the versions below. Needs ``redis-server`` for the last table.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("flask==3.1.3", "pydantic>=2.12", "redis>=6", "flask-limiter==4.1.1", "flask-cors==6.0.5")
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-access" / "bin" / "python"
PAGE = ROOT / "docs" / "how-to" / "access.md"
RESULTS = ROOT / "bench" / "results" / "access.json"
ORIGIN, REQUESTS = "https://app.example", 400
NEVER = 10**8
"""A limit that a measurement does not reach."""


@dataclass(frozen=True)
class Candidate:
    """One way to do one thing."""

    case: str
    name: str
    app: Any
    headers: dict[str, str]


def bare() -> Any:
    from flask import Flask

    app = Flask("bench")
    app.add_url_rule("/things", "things", lambda: "ok")
    return app


def keyed(app: Any) -> str:
    """Guard an app and return a key that opens it."""
    from quadra_matrix.access.keyring import Keyring
    from quadra_matrix.access.keys import pepper
    from quadra_matrix.flask import setup_access
    from quadra_matrix.testing.access import MemoryKeys

    keyring = Keyring(MemoryKeys(), [pepper("a secret of the benchmark")])
    setup_access(app, keyring, needs={"things": "read"}, local=())
    return keyring.create("bench", ["read"])[1]


def candidates() -> Iterator[Candidate]:
    """Yield every way; the bare app of each case is sent the same headers."""
    import flask_limiter
    from flask_cors import CORS
    from flask_limiter.util import get_remote_address

    from quadra_matrix.flask import setup_cors, setup_rate_limits

    ours = bare()
    key = {"X-API-Key": keyed(ours)}
    yield Candidate("an API key with a scope", "bare", bare(), key)
    yield Candidate("an API key with a scope", "Quadra Matrix", ours, key)

    limited, theirs = bare(), bare()
    setup_rate_limits(limited, [f"{NEVER}/minute by address"])
    flask_limiter.Limiter(
        get_remote_address,
        app=theirs,
        default_limits=[f"{NEVER}/minute"],
        storage_uri="memory://",
        headers_enabled=True,
    )
    yield Candidate("a limit by address, in memory", "bare", bare(), {})
    yield Candidate("a limit by address, in memory", "Quadra Matrix", limited, {})
    yield Candidate("a limit by address, in memory", "Flask-Limiter", theirs, {})

    crossed, others, asked = bare(), bare(), {"Origin": ORIGIN}
    setup_cors(crossed, [ORIGIN], credentials=True)
    CORS(others, origins=[ORIGIN], supports_credentials=True)
    yield Candidate("a page of another origin", "bare", bare(), asked)
    yield Candidate("a page of another origin", "Quadra Matrix", crossed, asked)
    yield Candidate("a page of another origin", "flask-cors", others, asked)

    everything = bare()
    text = keyed(everything)
    setup_rate_limits(everything, [f"{NEVER}/minute by caller"])
    setup_cors(everything, [ORIGIN], credentials=True)
    yield Candidate("key, limit and origin together", "bare", bare(), asked | {"X-API-Key": text})
    yield Candidate("key, limit and origin together", "Quadra Matrix", everything, asked | {"X-API-Key": text})


def environ_of(headers: dict[str, str]) -> dict[str, Any]:
    given = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/things", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "REMOTE_ADDR": "203.0.113.9",
        "HTTP_HOST": "localhost", **given,
    }  # fmt: skip


def microseconds(candidate: Candidate) -> float:
    """Return the processor time of one request."""
    statuses: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        statuses.append(status)

    environ, app = environ_of(candidate.headers), candidate.app.wsgi_app
    began = time.process_time()
    for _ in range(REQUESTS):
        for _ in app(dict(environ), start):
            continue
    spent = time.process_time() - began
    assert set(statuses) == {"200 OK"}, (candidate.name, set(statuses))
    return spent / REQUESTS * 1e6


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median cost of each candidate beside the bare app, and the part of the bare request that it is."""
    known = list(candidates())
    for candidate in known:
        microseconds(candidate)
    found: list[list[float]] = [[] for _ in known]
    for _ in range(rounds):
        for times, candidate in zip(found, known, strict=True):
            times.append(microseconds(candidate))
    cost = {(candidate.case, candidate.name): times for times, candidate in zip(found, known, strict=True)}
    results: dict[str, dict[str, dict[str, float]]] = {}
    for (case, name), times in cost.items():
        if name != "bare":
            extra = [spent - plain for spent, plain in zip(times, cost[case, "bare"], strict=True)]
            ratio = [spent / plain for spent, plain in zip(times, cost[case, "bare"], strict=True)]
            results.setdefault(case, {})[name] = {
                "microseconds": round(statistics.median(extra), 1),
                "of_bare": round(statistics.median(ratio), 2),
            }
    return results


def alone(rounds: int) -> dict[str, float]:
    """Return the microseconds of the decisions themselves, without Flask."""
    from quadra_matrix.access.keyring import Keyring
    from quadra_matrix.access.keys import pepper
    from quadra_matrix.access.limiter import MemoryBuckets
    from quadra_matrix.access.limits import Rate
    from quadra_matrix.store.keys import KeyKind
    from quadra_matrix.testing.access import MemoryKeys

    keyring = Keyring(MemoryKeys(), [pepper("a secret of the benchmark")])
    text = keyring.create("bench", ["read"])[1]
    buckets, asked = MemoryBuckets(), [("ada", Rate(NEVER, 60.0))]
    decisions: dict[str, Callable[[], object]] = {
        "a key that was verified before": lambda: keyring.identify(text, KeyKind.API),
        "a token bucket in memory": lambda: buckets.take(asked),
    }
    found: dict[str, list[float]] = {name: [] for name in decisions}
    for _ in range(rounds):
        for name, decide in decisions.items():
            began = time.process_time()
            for _ in range(10_000):
                decide()
            found[name].append((time.process_time() - began) / 10_000 * 1e6)
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


@contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """Yield the address and the process of a Redis of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            os.kill(process.pid, signal.SIGCONT)
            process.terminate()


def hanging() -> dict[str, list[Any]]:
    """Return status and milliseconds of five requests after Redis stops to answer, for each way to set a limit up."""
    import flask_limiter
    from flask_limiter.util import get_remote_address

    from quadra_matrix.access.limiter import Limiter, MemoryBuckets
    from quadra_matrix.access.redis import RedisBuckets
    from quadra_matrix.breaker import CircuitBreaker
    from quadra_matrix.flask import setup_rate_limits

    def theirs(url: str, **options: Any) -> Any:
        app = bare()
        app.config["PROPAGATE_EXCEPTIONS"] = False
        flask_limiter.Limiter(
            get_remote_address, app=app, default_limits=["3/minute"], storage_uri=url,
            storage_options={"socket_timeout": 1, "socket_connect_timeout": 1}, **options,
        )  # fmt: skip
        return app

    def ours(url: str) -> Any:
        app = bare()
        breaker = CircuitBreaker("limits", failure_threshold=1, recovery_timeout=1.0, registry=None)
        limiter = Limiter(MemoryBuckets(), RedisBuckets(url), guard=breaker.call, hook=lambda event: None)
        setup_rate_limits(app, ["3/minute by address"], limiter=limiter)
        return app

    ways: dict[str, Callable[[str], Any]] = {
        "Quadra Matrix": ours,
        "Flask-Limiter": theirs,
        "Flask-Limiter, swallow_errors": lambda url: theirs(url, swallow_errors=True),
        "Flask-Limiter, in_memory_fallback": lambda url: theirs(url, in_memory_fallback=["3/minute"]),
    }
    return {name: hung(make) for name, make in ways.items()}


def hung(make: Callable[[str], Any]) -> list[Any]:
    """Return status and milliseconds of five requests to an app whose Redis hangs after the first one."""
    said: list[Any] = []
    with redis() as (url, process):
        app = make(url)
        client = app.test_client()
        client.get("/things", environ_overrides={"REMOTE_ADDR": "203.0.113.1"})
        os.kill(process, signal.SIGSTOP)
        for _ in range(5):
            began = time.monotonic()
            status = client.get("/things").status_code
            said.append([status, round((time.monotonic() - began) * 1e3, 1)])
    return said


def tables(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["| what | who | microseconds a request | of a bare request |", "|---|---|---|---|"]
    for case, ways in found["costs"].items():
        for name, cost in ways.items():
            lines.append(f"| {case} | {name} | {cost['microseconds']} | {cost['of_bare']:.2f} |")
    lines += [f"| {name}, alone | Quadra Matrix | {spent} | |" for name, spent in found["alone"].items()]
    lines += ["", "| Redis hangs, limit 3 a minute | five requests: status and milliseconds |", "|---|---|"]
    for name, said in found["hanging"].items():
        lines.append(f"| {name} | {', '.join(f'{status} in {spent}' for status, spent in said)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.inside:
        build()
    found = {
        "python": platform.python_version(),
        "peers": PEERS,
        "rounds": chosen.rounds,
        "costs": measure(chosen.rounds),
        "alone": alone(chosen.rounds),
        "hanging": hanging(),
    }
    print(tables(found))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        marked = re.compile(r"(<!-- bench -->\n).*?(<!-- end -->)", re.DOTALL)
        PAGE.write_text(marked.sub(lambda mark: f"{mark[1]}{tables(found)}\n{mark[2]}", PAGE.read_text()))


def build() -> None:
    """Run this file again inside an environment that holds the peers."""
    if not PYTHON.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    command = [PYTHON, __file__, "--inside", *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}).returncode)


if __name__ == "__main__":
    main()
