"""Whether a request comes from this very machine: who may operate a service before anybody has a key."""

from __future__ import annotations

import ipaddress
from typing import Protocol

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""Headers that a proxy adds. One on this machine makes every client look local, so a forwarded request is not."""


class HeaderNames(Protocol):
    """The names of a request's headers."""

    def __contains__(self, name: str, /) -> bool:
        """Tell whether the request has this header."""


def is_local(address: str, host: str, headers: HeaderNames) -> bool:
    """Tell whether a request came from this machine, not passed on by a proxy and not lured from a browser.

    ``address`` is the peer's, ``host`` the request's ``Host``: a page of another site whose name resolves to this
    machine sends that name.
    """
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    is_forwarded = any(header in headers for header in FORWARDED)
    return not is_forwarded and is_loopback(address) and is_loopback(name.strip("[]"))


def is_loopback(name: str) -> bool:
    """Tell whether an address or host name is this machine's own."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
