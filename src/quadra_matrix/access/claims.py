"""What the claims of a verified token say: for whom it is, how long it holds, what it allows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.access.identity import EVERYTHING, Identity, Via, require_scope
from quadra_matrix.errors import InvalidValue, Unauthenticated, require

LONGEST_SUBJECT = 255
"""Characters; OpenID Connect allows no more."""


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What a token must say to be for us."""

    issuer: str
    audience: str
    """Who the token must be meant for: the name of this service at the issuer."""
    scope_claim: str = "scope"
    """Where scopes stand, by dots for a claim inside another: ``scope``, ``roles``, ``realm_access.roles``."""
    scope_prefix: str = ""
    """What scopes of ours begin with there; others are left out."""
    leeway: float = 30.0
    """Seconds by which the clocks of the issuer and of this machine may differ."""

    def __post_init__(self) -> None:
        for field in ("issuer", "audience", "scope_claim"):
            require(bool(getattr(self, field)), field, getattr(self, field), "not empty")
        require(0 <= self.leeway <= 300, "leeway", self.leeway, "0 to 300 seconds")


def identity_of(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> Identity:
    """Return whose token it is at ``now``, in seconds since the epoch. Raises ``Unauthenticated``.

    The signature is not looked at: verify it before.
    """
    expires = _moment(claims, "exp")
    if expires is None or now >= expires + rules.leeway:
        raise Unauthenticated("expired")
    if any((_moment(claims, name) or 0.0) > now + rules.leeway for name in ("nbf", "iat")):
        raise Unauthenticated("not yet valid")
    if claims.get("iss") != rules.issuer:
        raise Unauthenticated("issuer")
    audience = claims.get("aud")
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthenticated("audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise Unauthenticated("subject")
    name = next((found for claim in _NAMES if isinstance(found := claims.get(claim), str) and found), subject)
    scopes = _scopes(claims, rules)
    return Identity(f"{rules.issuer}|{subject}", name[:LONGEST_SUBJECT], scopes, Via.TOKEN, expires + rules.leeway)


_NAMES = ("preferred_username", "email", "name", "client_id")
"""Claims that name somebody for people, best first."""


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time of the token, or None where it has none; anything but a finite number is refused."""
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 2**53:
        raise Unauthenticated("malformed")
    return float(found)


def _scopes(claims: Mapping[str, Any], rules: ClaimRules) -> frozenset[str]:
    """Return the scopes that a token allows: a text of words, or a list of them. Never everything."""
    found: Any = claims
    for step in rules.scope_claim.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    given = [word[len(rules.scope_prefix) :] for word in words if _begins(word, rules.scope_prefix)]
    return frozenset(word for word in given if word != EVERYTHING and _is_scope(word))


def _begins(word: object, prefix: str) -> bool:
    return isinstance(word, str) and word.startswith(prefix)


def _is_scope(word: str) -> bool:
    try:
        require_scope(word)
    except InvalidValue:
        return False
    return True
