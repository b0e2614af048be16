"""What no experiment does unless a person says so: production, and addresses that are not one's own."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from quadra_matrix.chaos.model import Target
from quadra_matrix.errors import ChaosRefused


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a person allowed for one run."""

    production: bool = False
    public: bool = False
    """Addresses outside private networks."""


def check(target: Target, allowed: Allowed) -> None:
    """Raise ``ChaosRefused`` for a target that this run may not harm."""
    if target.environment == "production" and not allowed.production:
        raise ChaosRefused(f"an experiment on {target.url}", "it is production", "add --allow-production")
    public = [address for address in addresses(target) if not _is_private(address)]
    if public and not allowed.public:
        reason = f"{public[0]} is a public address"
        raise ChaosRefused(f"an experiment on {target.url}", reason, "add --allow-public if it is yours")


def addresses(target: Target) -> list[str]:
    """Return every address that a target's name stands for; none for a name that is unknown."""
    host, _, port = target.address.rpartition(":")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(place[0]) for *_, place in found})


def _is_private(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.is_private or found.is_loopback or found.is_link_local
