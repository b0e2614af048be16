"""The headers that make browsers careful: which, and what is missing from an answer."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, fields
from typing import Any

from quadra_matrix.errors import require

NONCE = "{nonce}"
NONCE_KEY = "quadra.csp_nonce"
"""Where the WSGI environment holds the nonce of the answer, once somebody has asked for it."""

AT_ONCE = 64
"""Nonces that are drawn at once: a call of the kernel costs as much as all other work on one."""

MOST_NAMES = 500
"""Spellings of header names that are remembered; applications use a few dozen."""

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


# What a header of the application means to us. Numbers and no enum: each header of each answer is asked.
OTHER, TYPE, LENGTH, OURS = range(4)


class SecurityHeaders:
    """Complete the headers of answers. May be shared between threads."""

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
        policy = options.content_security_policy
        self._around_nonce = (policy or "").split(NONCE)
        without_nonce = [] if policy is None else [(POLICY, policy.replace(f" 'nonce-{NONCE}'", ""))]
        self._whole = {is_https: table + without_nonce for is_https, table in self._tables.items()}
        self._has_nonce = len(self._around_nonce) > 1
        self._kinds = {name.lower(): OURS for name, _ in self._whole[True]} | {
            "content-type": TYPE,
            "content-length": LENGTH,
        }
        self._known = dict(self._kinds)
        """The kind of each name as it was written: to ask costs less than to compare."""

    def plain(self, *, is_https: bool) -> list[Header]:
        """Return the headers of an answer that is no page."""
        return self._whole[is_https]

    def completed(
        self, headers: list[Header], status: str, environ: MutableMapping[str, Any], is_https: bool
    ) -> list[Header]:
        """Return ``headers`` and those that they lack; for the ``start_response`` of a WSGI layer.

        The nonce is part of the policy if the page has read it, or may do so later because its end is not known. An
        answer 304 replaces the headers of the page in the browser's cache, and that page holds an earlier nonce, so it
        gets no policy.
        """
        media, is_streamed, is_usual = "", True, not status.startswith("304")
        known = self._known
        for name, value in headers:
            kind = known.get(name)
            if kind is None:
                kind = self._kind_of(name)
            if kind == TYPE:
                media = value
            elif kind == LENGTH:
                is_streamed = False
            elif kind == OURS:
                is_usual = False
        if is_usual:
            if not (self._has_nonce and media.startswith("text/html") and (is_streamed or NONCE_KEY in environ)):
                return headers + self._whole[is_https]
            return [*headers, *self._tables[is_https], (POLICY, nonce_of(environ).join(self._around_nonce))]
        return self._unusual(headers, status, environ, is_https)

    def _unusual(
        self, headers: list[Header], status: str, environ: MutableMapping[str, Any], is_https: bool
    ) -> list[Header]:
        """Complete an answer 304, or one whose application sets some of our headers itself."""
        present = {name.lower() for name, _ in headers}
        if status.startswith("304"):
            lacking = self._tables[is_https]
        elif POLICY.lower() in present or not self._has_nonce:
            lacking = self._whole[is_https]
        else:
            lacking = [*self._tables[is_https], (POLICY, nonce_of(environ).join(self._around_nonce))]
        return headers + [header for header in lacking if header[0].lower() not in present]

    def _kind_of(self, name: str) -> int:
        """Return the kind of a header, and remember it while there are few."""
        kind = self._kinds.get(name.lower(), OTHER)
        if len(self._known) < MOST_NAMES:
            self._known[name] = kind
        return kind


class Nonces:
    """Random values of 128 bits, drawn many at a time. Shared between threads; a forked process draws its own."""

    def __init__(self) -> None:
        self._ready: list[str] = []
        os.register_at_fork(after_in_child=self._ready.clear)

    def take(self) -> str:
        """Return a value that nobody has had: 32 hexadecimal digits."""
        try:
            return self._ready.pop()  # in one step: no two threads get the same
        except IndexError:
            drawn = os.urandom(16 * AT_ONCE).hex()
            first, *rest = (drawn[start : start + 32] for start in range(0, len(drawn), 32))
            self._ready.extend(rest)
            return first


_nonces = Nonces()


def nonce_of(environ: MutableMapping[str, Any]) -> str:
    """Return the nonce of one answer, made when it is first asked for."""
    nonce: str | None = environ.get(NONCE_KEY)
    if nonce is None:
        nonce = environ[NONCE_KEY] = _nonces.take()
    return nonce
