"""Where the front hands connections on to the HTTP server and the hub, and what else its process is given."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

HTTP_SOCKET, HUB_SOCKET = "http.sock", "hub.sock"

OPENSSL = """\
openssl_conf = start
[start]
ssl_conf = tls
[tls]
system_default = curves
[curves]
Groups = {groups}
"""
"""Configuration that leaves the curves of Mozilla's intermediate profile; Python's ``ssl`` cannot."""

GROUPS = "X25519:P-256:P-384"
POST_QUANTUM = "X25519MLKEM768"
"""Offered first where OpenSSL knows it."""


@contextlib.contextmanager
def sockets_folder() -> Iterator[Path]:
    """Yield a folder that nobody else can open, with a path short enough for the sockets in it."""
    with TemporaryDirectory(prefix="quadra-") as folder:
        yield Path(folder)


def socket_accepts(path: Path) -> bool:
    """Tell whether something accepts connections at a Unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1)
        asking.connect(str(path))
        return True
    return False


def front_environment(sockets: Path) -> Mapping[str, str]:
    """Return the variables that the front's process needs besides the settings."""
    groups = f"{POST_QUANTUM}:{GROUPS}" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else GROUPS
    file = sockets / "openssl.cnf"
    file.write_text(OPENSSL.format(groups=groups))
    return {"OPENSSL_CONF": str(file)}
