"""Who may listen at the hub: the rules of HTTP, read from the handshake of a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from quadra_matrix.access.gate import SESSION_COOKIES, Call, Gate
from quadra_matrix.access.origins import Origins
from quadra_matrix.loopback import is_local
from quadra_matrix.service.access.operations import READ
from quadra_matrix.tls.passing import FIELD


class Door:
    """Decides who may listen. Blocks while it asks the database; may be shared between threads."""

    def __init__(self, gate: Gate, origins: Origins, *, has_front: bool = False) -> None:
        """``has_front`` says that nobody but the front can connect, so that what it says of a client is true."""
        self._gate, self._origins, self._has_front = gate, origins, has_front

    def admit(self, headers: Mapping[str, str], address: str) -> None:
        """Return if a client may listen; raise ``AccessRefused`` if not.

        A page that may connect only because every page may is nobody: its browser would act for whoever is signed in,
        or for this machine.
        """
        scheme, address = self._seen(headers, address)
        origin = headers.get("origin")
        is_trusted = origin is None or origin in self._origins.listed
        call = Call(
            method="GET",
            own_origin=lambda: origin or "",
            is_local=lambda: is_trusted and is_local(address, headers.get("host", ""), _Names(headers)),
            authorization=headers.get("authorization"),
            api_key=headers.get("x-api-key"),
            session=_session(headers, scheme) if is_trusted else None,
            origin=origin,
        )
        self._gate.decide(call, READ)

    def _seen(self, headers: Mapping[str, str], address: str) -> tuple[str, str]:
        """Return scheme and address of the client itself."""
        if not self._has_front:
            return "http", address
        scheme, address, *_ = headers.get(FIELD.lower(), " ").split(" ")
        return scheme, address


class _Names:
    """Names of headers as HTTP compares them: whatever their capitals."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __contains__(self, name: str, /) -> bool:
        return name.lower() in self._headers


def _session(headers: Mapping[str, str], scheme: str) -> str | None:
    """Return the cookie of a session; over HTTPS only the one that nobody else can set."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    names = SESSION_COOKIES[:1] if scheme == "https" else SESSION_COOKIES
    return next((cookies[name].value for name in names if name in cookies), None)
