"""Cross-origin requests: what a browser is told about a page of another origin (Fetch standard). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quadra_matrix.access.origins import ANY_ORIGIN, Origins
from quadra_matrix.errors import require

Header = tuple[str, str]

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "X-API-Key",
    "X-CSRF-Token",
    "traceparent",
    "tracestate",
)
"""Headers that a page may send by default."""

EXPOSED_HEADERS = ("Location", "RateLimit", "RateLimit-Policy", "Retry-After")
"""Headers of an answer that a page may read by default, besides those that every page may."""


@dataclass(frozen=True, slots=True)
class CorsOptions:
    """Which pages may call, and what they may send and read."""

    origins: tuple[str, ...] = ()
    """As ``https://app.example``; ``*`` stands for every page, none of which acts for anybody."""
    credentials: bool = False
    """Let those pages send cookies. Not together with ``*``: any site could act for whoever is signed in."""
    request_headers: tuple[str, ...] = REQUEST_HEADERS
    exposed_headers: tuple[str, ...] = EXPOSED_HEADERS
    max_age: int = 600
    """Seconds for which a browser need not ask again."""

    def __post_init__(self) -> None:
        Origins.of(self.origins)
        is_safe = not (self.credentials and ANY_ORIGIN in self.origins)
        require(is_safe, "origins", self.origins, "a list without * where credentials are allowed")
        require(0 <= self.max_age <= 86400, "max_age", self.max_age, "0 to 86400 seconds")


class Cors:
    """Answers for one set of options. Immutable; may be shared between threads."""

    def __init__(self, options: CorsOptions) -> None:
        self._origins = Origins.of(options.origins)
        self._is_any = self._origins.any and not options.credentials
        self._credentials = [("Access-Control-Allow-Credentials", "true")] if options.credentials else []
        exposed = ", ".join(options.exposed_headers)
        self._exposed = [("Access-Control-Expose-Headers", exposed)] if exposed else []
        self._preflight = [
            ("Access-Control-Allow-Headers", ", ".join(options.request_headers)),
            ("Access-Control-Max-Age", str(options.max_age)),
        ]

    def answer(self, origin: str | None) -> list[Header]:
        """Return the headers of an answer to a page of ``origin``: none for a page that may not call."""
        if origin is None or not self._origins.allows(origin):
            return []
        allowed = ANY_ORIGIN if self._is_any else origin
        return [("Access-Control-Allow-Origin", allowed), *self._credentials, *self._exposed]

    def preflight(self, origin: str, methods: Iterable[str]) -> list[Header]:
        """Return the headers of the answer to a browser that asks first; ``methods`` are those of the route."""
        allowed = self.answer(origin)
        if not allowed:
            return []
        return [*allowed, ("Access-Control-Allow-Methods", ", ".join(sorted(methods))), *self._preflight]
