"""Ask a dependency one small thing, in its own protocol."""

from __future__ import annotations

import socket
from enum import StrEnum

from quadra_matrix.chaos.probe import Probe, probe_of


class Kind(StrEnum):
    """What a dependency speaks."""

    HTTP = "http"
    REDIS = "redis"
    POSTGRES = "postgres"


PING = b"*1\r\n$4\r\nPING\r\n"
"""Redis answers ``+PONG``, or ``-NOAUTH`` where it wants a password."""
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL answers S or N before anybody has to be known to it."""


def ping_of(kind: Kind, address: str) -> Probe:
    """Return the probe that tells whether a dependency at ``host:port`` answers."""
    if kind is Kind.HTTP:
        return probe_of(f"http://{address}/")
    asked, answers = (PING, b"+-") if kind is Kind.REDIS else (SSL_REQUEST, b"SN")
    host, _, port = address.rpartition(":")

    def ask(timeout: float) -> bool:
        with socket.create_connection((host, int(port)), timeout) as line:
            line.sendall(asked)
            return line.recv(1) in {bytes([answer]) for answer in answers}

    return ask
