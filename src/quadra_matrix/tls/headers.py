"""The headers that make browsers careful: which, and what is missing from an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from quadra_matrix.errors import require

NONCE = "{nonce}"
POLICY = "Content-Security-Policy"

STRICT_POLICY = (
    "default-src 'self'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Scripts run only if the page names them with its nonce; a nonce is good for one answer."""

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HeaderOptions:
    """What every answer says, unless the application has said it. None leaves a header out."""

    content_security_policy: str | None = STRICT_POLICY
    """``{nonce}`` stands for the nonce of the answer."""
    hsts_seconds: int = 31_536_000
    """How long browsers refuse plain HTTP after an answer over HTTPS; 0 tells them to forget it."""
    hsts_subdomains: bool = False
    frame_options: str | None = "DENY"
    content_type_options: str | None = "nosniff"
    xss_protection: str | None = "0"
    """The filter of old browsers made holes of its own; OWASP advises to switch it off."""
    referrer_policy: str | None = "strict-origin-when-cross-origin"
    permissions_policy: str | None = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    opener_policy: str | None = "same-origin"
    resource_policy: str | None = "same-origin"

    def __post_init__(self) -> None:
        require(self.hsts_seconds >= 0, "hsts_seconds", self.hsts_seconds, "0 seconds or more")
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, str):
                legal = bool(value) and value.isascii() and value.isprintable()
                require(legal, option.name, value, "printable ASCII, not empty")

    @property
    def strict_transport_security(self) -> str:
        """Return the value of HSTS."""
        return f"max-age={self.hsts_seconds}" + ("; includeSubDomains" if self.hsts_subdomains else "")


class SecurityHeaders:
    """Complete the headers of answers. Immutable; may be shared between threads."""

    def __init__(self, options: HeaderOptions) -> None:
        named = {
            "X-Frame-Options": options.frame_options,
            "X-Content-Type-Options": options.content_type_options,
            "X-XSS-Protection": options.xss_protection,
            "Referrer-Policy": options.referrer_policy,
            "Permissions-Policy": options.permissions_policy,
            "Cross-Origin-Opener-Policy": options.opener_policy,
            "Cross-Origin-Resource-Policy": options.resource_policy,
        }
        over_http = [(name, value) for name, value in named.items() if value is not None]
        hsts = ("Strict-Transport-Security", options.strict_transport_security)
        self._tables: dict[bool, list[Header]] = {False: over_http, True: [*over_http, hsts]}
        self._names = frozenset(name.lower() for name, _ in self._tables[True])
        policy = options.content_security_policy
        self._around_nonce = (policy or "").split(NONCE)
        self._has_policy = policy is not None
        self._policy_without_nonce = (policy or "").replace(f" 'nonce-{NONCE}'", "")

    @property
    def plain(self) -> list[Header]:
        """Return the headers of an answer that is no page and came over plain HTTP."""
        return self.completed([], is_https=False, is_cached=False, nonce=str)

    def completed(
        self, headers: list[Header], *, is_https: bool, is_cached: bool, nonce: Callable[[], str]
    ) -> list[Header]:
        """Return ``headers`` and those that they lack; ``nonce`` is asked for a page only.

        ``is_cached`` is for an answer 304: it replaces the headers of the page in the browser's cache, and that page
        holds an earlier nonce, so it gets no policy.
        """
        present = {name.lower(): value for name, value in headers}
        added = self._tables[is_https]
        if not self._names.isdisjoint(present):
            added = [header for header in added if header[0].lower() not in present]
        if is_cached or not self._has_policy or POLICY.lower() in present:
            return headers + added
        is_page = len(self._around_nonce) > 1 and present.get("content-type", "").startswith("text/html")
        if is_page:
            return [*headers, *added, (POLICY, nonce().join(self._around_nonce))]
        return [*headers, *added, (POLICY, self._policy_without_nonce)]
