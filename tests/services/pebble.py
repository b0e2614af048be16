"""A real ACME server: pebble, with a DNS server that sends every name to this machine."""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.tls.authority import issue_server, local_authority
from tests.services.process import accepts, free_port, needs, running

INSTALL = "apt-get install pebble"

FORBIDDEN = "forbidden.example.test"
"""A name that it refuses."""


@dataclass(frozen=True)
class Pebble:
    """A running server."""

    directory: str
    management: str
    roots: Path
    """PEM file that vouches for the server's own certificate."""
    http_port: int
    """Where it looks for the answers to http-01."""
    log: Path

    def issuer(self, folder: Path) -> Path:
        """Return a PEM file that vouches for what it issues."""
        path = folder / "issuer.pem"
        path.write_bytes(self._ask("/roots/0"))
        return path

    def status(self, serial: str) -> Mapping[str, Any]:
        """Return what it knows about a certificate."""
        told: Mapping[str, Any] = json.loads(self._ask(f"/cert-status-by-serial/{serial}"))
        return told

    def counted(self, words: str) -> int:
        """Return how many lines of its log hold ``words``."""
        return sum(words in line for line in self.log.read_text().splitlines())

    def _ask(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=self.roots)
        with urllib.request.urlopen(self.management + path, timeout=30, context=context) as answer:
            content: bytes = answer.read()
        return content


@contextlib.contextmanager
def pebble_server(folder: Path, **knobs: str) -> Iterator[Pebble]:
    """Yield a strict pebble; ``knobs`` are its environment variables."""
    program, names = needs("pebble", INSTALL), needs("pebble-challtestsrv", INSTALL)
    authority = local_authority(folder)
    own = issue_server(authority, ["localhost", "127.0.0.1"], days=30, now=SYSTEM_CLOCK.now())
    (folder / "own.pem").write_bytes(own.certificate)
    (folder / "own-key.pem").write_bytes(own.key)
    acme, management, http_port, dns, control = (free_port() for _ in range(5))
    config = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "own.pem"),
        "privateKey": str(folder / "own-key.pem"),
        "httpPort": http_port,
        "tlsPort": free_port(),
        "domainBlocklist": [FORBIDDEN],
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    resolver = [names, "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{control}"]
    resolver += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    server = [program, "-config", folder / "pebble.json", "-strict", "-dnsserver", f"127.0.0.1:{dns}"]
    environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **knobs}
    with (
        running(resolver, log=folder / "dns.log", ready=lambda: accepts(control)),
        running(
            server, log=folder / "pebble.log", env=environment, ready=lambda: accepts(acme) and accepts(management)
        ),
    ):
        yield Pebble(
            f"https://localhost:{acme}/dir",
            f"https://localhost:{management}",
            authority.file,
            http_port,
            folder / "pebble.log",
        )
