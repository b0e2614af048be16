"""Web origins: which are allowed, and whether a browser sent a request for a page of another site. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from quadra_matrix.errors import InvalidValue, require
from quadra_matrix.loopback import is_loopback

ANY_ORIGIN = "*"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing, so that a page of another site may cause them."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def require_origin(origin: str) -> str:
    """Return an origin as browsers write it; raise ``InvalidValue`` for anything else, a path or a pattern included."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError as wrong:
        raise InvalidValue("origin", origin, "like https://app.example or http://localhost:3000") from wrong
    is_plain = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and not any(sign in origin for sign in "*@?#\\ ")
    is_plain = is_plain and parts.path in ("", "/") and parts.netloc.isascii()
    require(is_plain, "origin", origin, "like https://app.example or http://localhost:3000, without a path or pattern")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def require_secure(url: str) -> str:
    """Return an address whose answer nobody on the way can change; raise ``InvalidValue`` for any other."""
    parts = urlsplit(url)
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    require(is_secure and bool(parts.hostname), "address", url, "https, or http on this machine")
    return url


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins whose pages may call; compared as a whole, never by a part."""

    listed: frozenset[str]
    any: bool = False
    """Pages of every site may call, as nobody: without cookies."""

    @classmethod
    def of(cls, origins: Iterable[str]) -> Origins:
        """Return the origins of a list in which ``*`` stands for all."""
        given = frozenset(origins)
        return cls(frozenset(map(require_origin, given - {ANY_ORIGIN})), ANY_ORIGIN in given)

    def allows(self, origin: str) -> bool:
        """Tell whether a page of this origin may call."""
        return self.any or origin in self.listed


def is_foreign(*, method: str, site: str | None, origin: str | None, own: Callable[[], str], trusted: Origins) -> bool:
    """Tell whether a browser sent a request that may change something for a page that is not ours.

    ``site`` is ``Sec-Fetch-Site``, ``origin`` is ``Origin``, ``own`` returns the origin the request was sent to,
    ``trusted`` are origins of ours on other hosts. Without either header it was no browser of this decade, or none.
    """
    if method in SAFE_METHODS:
        return False
    if origin is not None and origin in trusted.listed:
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin != own()
