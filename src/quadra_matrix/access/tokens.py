"""Bearer tokens of an OpenID Connect issuer: verified once, then answered from memory for a minute."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from quadra_matrix.access.claims import ClaimRules, identity_of
from quadra_matrix.access.identity import Identity
from quadra_matrix.access.issuer import Issuer
from quadra_matrix.access.jose import ALGORITHMS, claims_in, require_algorithms
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import Unauthenticated

REMEMBERED = 60.0
"""Seconds for which a verified token is not verified again."""

MOST_SEEN = 4096
"""Tokens that one process remembers."""

LONGEST_TOKEN = 8192
"""Characters; a longer one is refused unread."""


@dataclass(frozen=True, slots=True)
class _Seen:
    identity: Identity
    checked: float
    """In the time of the monotonic clock."""


class OidcTokens:
    """Verifies the tokens of one issuer. May be shared between threads."""

    def __init__(
        self,
        issuer: Issuer,
        rules: ClaimRules,
        *,
        algorithms: tuple[str, ...] = ALGORITHMS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._issuer, self._rules, self._clock = issuer, rules, clock
        self._algorithms = require_algorithms(algorithms)
        self._seen: dict[bytes, _Seen] = {}

    def identify(self, text: str) -> Identity:
        """Return who shows the token. Raises ``Unauthenticated``, or ``AccessUndecided`` while no keys are known."""
        if len(text) > LONGEST_TOKEN or text.count(".") != 2 or not text.isascii():
            raise Unauthenticated("malformed")
        fingerprint = hashlib.blake2b(text.encode(), digest_size=32).digest()
        seen, ticks = self._seen.get(fingerprint), self._clock.monotonic()
        if seen is None or ticks - seen.checked >= REMEMBERED:
            claims = claims_in(text, self._issuer.key, self._algorithms)
            seen = _Seen(identity_of(claims, self._rules, self._clock.now()), ticks)
            if len(self._seen) >= MOST_SEEN:
                self._seen = {}
            self._seen[fingerprint] = seen
        if seen.identity.expires is not None and self._clock.now() >= seen.identity.expires:
            raise Unauthenticated("expired")
        return seen.identity
