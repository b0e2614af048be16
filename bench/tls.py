"""What TLS and the security headers cost, beside nginx, Python's own context and flask-talisman, in one run.

Run: ``python bench/tls.py`` (``--rounds 7``; ``--write`` keeps the JSON and the tables in docs). Costs are processor
time of the serving process (of nginx: with its workers), medians of interleaved rounds. nginx runs with the
configuration that ``quadra certs nginx`` prints; it and our front pass requests on to the same server, whose time does
not count. The peers live in an environment that the script makes once; nginx comes from the system.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("flask==3.1.3", "flask-talisman==1.1.0", "cryptography==50.0.2", "pydantic>=2.12")
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-tls" / "bin" / "python"
PAGE = ROOT / "docs" / "explanation" / "tls.md"
RESULTS = ROOT / "bench" / "results" / "tls.json"
OURS, TALISMAN, NGINX = "Quadra Matrix", "flask-talisman", "nginx"
FRONT, CONTEXT, PLAIN = "our front", "our context in app.run", "Python's context in app.run"
HEADER_GOALS = {"JSON": 1.08, "page": 1.08}
"""Most that a request with all headers may cost, over a bare Flask request."""
CASES = {"JSON": "/json", "page": "/page", "page with a nonce": "/nonce"}
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
SWAPS, SILENT, PATIENCE = 60, 200, 4.0


# The headers


def application(protect: Callable[[Any], Callable[[], str]]) -> Callable[..., Any]:
    """Return an application whose answers ``protect`` completes; it returns what makes a nonce."""
    from flask import Flask, render_template
    from jinja2 import DictLoader

    app = Flask("bench")
    app.jinja_loader = DictLoader({"page.html": "<!doctype html><script nonce='{{ made() }}'>1</script>"})
    app.add_url_rule("/json", view_func=lambda: {"item": 7}, endpoint="json")
    app.add_url_rule("/page", view_func=lambda: "<!doctype html><p>hello</p>", endpoint="page")
    app.add_url_rule("/nonce", view_func=lambda: render_template("page.html", made=made), endpoint="nonce")
    made = protect(app)
    return app.wsgi_app


def ours(app: Any) -> Callable[[], str]:
    from quadra_matrix.tls.flask import csp_nonce, setup_tls

    setup_tls(app)
    return csp_nonce


def talisman(app: Any) -> Callable[[], str]:
    from flask_talisman import Talisman

    policy = {"default-src": "'self'", "script-src": "'strict-dynamic'", "object-src": "'none'", "base-uri": "'none'"}
    Talisman(app, content_security_policy=policy, content_security_policy_nonce_in=["script-src", "style-src"])
    return lambda: str(app.jinja_env.globals["csp_nonce"]())


def bare(app: Any) -> Callable[[], str]:
    return lambda: "0" * 32


def cost_of(app: Callable[..., Any], path: str, times: int) -> float:
    """Return the processor microseconds of one request."""
    from werkzeug.test import create_environ

    environ = create_environ(path, base_url="https://shop.test/")
    began = time.process_time()
    for _ in range(times):
        body = app(dict(environ), lambda status, headers, exc_info=None: None)
        for _part in body:
            continue
        body.close()
    return (time.process_time() - began) / times * 1e6


def headers(rounds: int, times: int) -> dict[str, Any]:
    apps = {name: application(protect) for name, protect in (("bare", bare), (OURS, ours), (TALISMAN, talisman))}
    found: dict[str, Any] = {}
    for case, path in CASES.items():
        seen: dict[str, list[float]] = {name: [] for name in apps}
        for number in range(rounds + 1):
            for name in list(apps)[:: 1 if number % 2 else -1]:
                cost = cost_of(apps[name], path, times)
                if number:  # the first round warms up
                    seen[name].append(cost)
        found[case] = {"bare_us": round(statistics.median(seen["bare"]), 1)} | {
            name: round(statistics.median(a / b for a, b in zip(seen[name], seen["bare"], strict=True)), 3)
            for name in (OURS, TALISMAN)
        }
    return found


# The servers


def serve(kind: str, folder: Path, port: int) -> None:
    """Be one of the servers until ended."""
    if kind == "behind":
        asyncio.run(behind(folder, port))
    elif kind == FRONT:
        asyncio.run(front(folder, port))
    else:
        in_app_run(kind, folder, port)


async def behind(folder: Path, port: int) -> None:
    """Answer every request with two bytes, over a Unix socket and over TCP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()

    await asyncio.start_unix_server(answer, folder / "behind.sock")
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


async def front(folder: Path, port: int) -> None:
    from quadra_matrix.tls.context import ServerFiles
    from quadra_matrix.tls.front import Door, Front
    from quadra_matrix.tls.headers import HeaderOptions, SecurityHeaders
    from quadra_matrix.tls.serving import ServingContext

    context = ServingContext(ServerFiles(folder / "cert.pem", folder / "key.pem"), check_every=0.1)
    doors = [Door("127.0.0.1", port, folder / "behind.sock")]
    await Front(doors, context, SecurityHeaders(HeaderOptions()), handshake_timeout=60).open()
    await asyncio.Event().wait()


def in_app_run(kind: str, folder: Path, port: int) -> None:
    import logging

    from werkzeug.serving import make_server

    from quadra_matrix.tls.context import ServerFiles
    from quadra_matrix.tls.serving import ServingContext

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    files = ServerFiles(folder / "cert.pem", folder / "key.pem")
    context: ssl.SSLContext = ServingContext(files, handshake_timeout=60, check_every=0.1)
    if kind == PLAIN:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    make_server("127.0.0.1", port, app, threaded=True, ssl_context=context).serve_forever()


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> float:
        """Return the processor seconds of the process and its children."""
        pids = [self.process.pid, *children(self.process.pid)]
        tick = os.sysconf("SC_CLK_TCK")
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / tick


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str | Path], port: int, folder: Path) -> Iterator[Running]:
    """Yield the process once it accepts connections."""
    with (folder / "log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield Running(process, port)
        finally:
            process.terminate()


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[dict[str, Running]]:
    """Yield every server under measurement."""
    from quadra_matrix.tls.nginx import Site, nginx_configuration

    inner, redirect = free_port(), free_port()
    ports = {name: free_port() for name in (FRONT, CONTEXT, PLAIN, NGINX)}
    site = Site(
        ["localhost"], folder / "cert.pem", folder / "key.pem", has_ocsp=False,
        service=f"127.0.0.1:{inner}", port=ports[NGINX], redirect_port=redirect,
    )  # fmt: skip
    text = nginx_configuration(site, whole=True).replace("http {", "http { access_log off;", 1)
    (folder / "nginx.conf").write_text(text)
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or sys.exit("nginx is missing")
    setting = f"daemon off; pid {folder}/nginx.pid;"
    with contextlib.ExitStack() as held:
        ours = [sys.executable, __file__, "--serve"]
        held.enter_context(started([*ours, "behind", folder, str(inner)], inner, folder))
        commands: dict[str, list[str | Path]] = {name: [*ours, name, folder, str(ports[name])] for name in ports}
        commands[NGINX] = [program, "-c", folder / "nginx.conf", "-e", folder / "log", "-g", setting]
        yield {name: held.enter_context(started(command, ports[name], folder)) for name, command in commands.items()}


# What they are asked


def trusting(folder: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def ask(port: int, context: ssl.SSLContext, patience: float = 30.0) -> None:
    """Do a full handshake and one short request."""
    with (
        socket.create_connection(("127.0.0.1", port), patience) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not client.recv(5000).startswith(b"HTTP/1.1 200"):
            raise ConnectionError("no answer")


def handshakes(running: dict[str, Running], folder: Path, rounds: int, times: int) -> dict[str, Any]:
    """Return how many full handshakes with a request each server does in a second of its processor time."""
    found: dict[str, Any] = {}
    for name, version in VERSIONS.items():
        context = trusting(folder, version)
        seen: dict[str, list[float]] = {server: [] for server in running}
        for _ in range(rounds):
            for server, one in running.items():
                before = one.cpu()
                for _ in range(times):
                    ask(one.port, context)
                seen[server].append(times / max(one.cpu() - before, 0.01))
        found[name] = {server: round(statistics.median(rates)) for server, rates in seen.items()}
    return found


def silence(running: dict[str, Running], folder: Path) -> dict[str, Any]:
    """Return how long a request takes while clients are connected that say nothing; None for longer than patience."""
    found: dict[str, Any] = {}
    for server, one in running.items():
        with contextlib.ExitStack() as held:
            for _ in range(SILENT):
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_connection(("127.0.0.1", one.port), 1))
            began = time.perf_counter()
            try:
                ask(one.port, trusting(folder), PATIENCE)
                found[server] = round(time.perf_counter() - began, 3)
            except OSError:
                found[server] = None
    return found


def swaps(port: int, folder: Path) -> dict[str, int]:
    """Renew the certificate under load, and return what became of the requests."""
    from quadra_matrix.tls.authority import issue_server, local_authority
    from quadra_matrix.tls.pairs import replace_pair

    over, answered, failed = threading.Event(), [0] * 4, [0] * 4

    def load(place: int) -> None:
        context = trusting(folder)
        while not over.is_set():
            try:
                if place % 2:
                    ask(port, context)
                    answered[place] += 1
                else:
                    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
                    for _ in range(20):
                        connection.request("GET", "/")
                        connection.getresponse().read()
                        answered[place] += 1
                    connection.close()
            except (OSError, http.client.HTTPException):
                failed[place] += 1

    clients = [threading.Thread(target=load, args=(place,)) for place in range(4)]
    for client in clients:
        client.start()
    seen = set()
    for _ in range(SWAPS):
        issued = issue_server(local_authority(folder), ["localhost"], days=30, now=time.time())
        replace_pair(folder, certificate=issued.certificate, key=issued.key)
        expected = ssl.PEM_cert_to_DER_cert(issued.certificate.decode())
        while (served := served_at(port, folder)) != expected:
            time.sleep(0.02)
        seen.add(served)
    over.set()
    for client in clients:
        client.join(60)
    return {"swaps": len(seen), "requests": sum(answered), "failed": sum(failed)}


def served_at(port: int, folder: Path) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        trusting(folder).wrap_socket(plain, server_hostname="localhost") as client,
    ):
        return client.getpeercert(binary_form=True)


# The report


def measure(rounds: int, times: int) -> dict[str, Any]:
    from quadra_matrix.tls.certs import generate_self_signed_cert

    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    found: dict[str, Any] = {"machine": machine, "headers": headers(2 * rounds, 1000)}
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as made:
        folder = Path(made)
        generate_self_signed_cert(folder)
        with servers(folder) as running:
            found["handshakes"] = handshakes(running, folder, rounds, times)
            found["silent"] = silence(running, folder)
            found["swaps"] = swaps(running[FRONT].port, folder)
    return found


def tables(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| a request over a bare one | bare, microseconds | {OURS} | {TALISMAN} |", "|---|---|---|---|"]
    for case, row in found["headers"].items():
        lines.append(f"| {case} | {row['bare_us']:.0f} | {row[OURS]:.2f} | {row[TALISMAN]:.2f} |")
    names = list(found["silent"])
    lines += ["", f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for version, row in found["handshakes"].items():
        cells = " | ".join(str(row[name]) for name in names)
        lines.append(f"| full handshakes with a request, per processor second, {version} | {cells} |")
    waits = [found["silent"][name] for name in names]
    cells = " | ".join(f"over {PATIENCE:.0f} s" if wait is None else f"{wait:.3f} s" for wait in waits)
    lines.append(f"| a request beside {SILENT} silent clients | {cells} |")
    swap = found["swaps"]
    lines += ["", f"{swap['swaps']} renewals under load: {swap['requests']} requests, {swap['failed']} failed."]
    return "\n".join([*lines, "", f"Machine: {found['machine']}; EC P-256 certificate; `python bench/tls.py`."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=150)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.serve[0], Path(chosen.serve[1]), int(chosen.serve[2]))
    if not chosen.inside:
        build()
    found = measure(chosen.rounds, chosen.times)
    print(tables(found))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        marked = re.compile(r"(<!-- bench -->\n).*?(<!-- end -->)", re.DOTALL)
        PAGE.write_text(marked.sub(lambda mark: f"{mark[1]}{tables(found)}\n{mark[2]}", PAGE.read_text()))
    missed = [case for case, goal in HEADER_GOALS.items() if found["headers"][case][OURS] > goal]
    missed += ["swaps"] if found["swaps"]["failed"] else []
    if missed:
        sys.exit("missed: " + "; ".join(missed))
    return None


def build() -> None:
    """Make the peers' environment unless it is there, and run this file in it."""
    if not PYTHON.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    command = [PYTHON, __file__, "--inside", *sys.argv[1:]]
    environ = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ.get("PATH", "")}
    sys.exit(subprocess.run(command, cwd=ROOT, env=environ).returncode)


if __name__ == "__main__":
    main()
