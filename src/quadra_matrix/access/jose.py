"""Signatures of tokens: the keys of an issuer, and whether one of them signed a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.errors import InvalidValue, MissingExtra, Unauthenticated, require

try:
    from joserfc import jwk, jws
    from joserfc.errors import JoseError
except ImportError as missing:
    raise MissingExtra("joserfc", "oidc") from missing

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384")
"""Signatures that are accepted by default. Those of a shared secret (HS256) never are: the secret would be the public
key that everybody knows."""

_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}

LONGEST_KEY_ID = 256
MOST_KEYS = 100
FEWEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of an issuer."""

    kind: str
    """RSA or EC."""
    algorithm: str | None
    """The only one that it is for, if it says so."""
    key: jwk.RSAKey | jwk.ECKey = field(repr=False)


def require_algorithms(algorithms: tuple[str, ...]) -> tuple[str, ...]:
    """Return algorithms of public keys; raise ``InvalidValue`` for any other."""
    known = {f"{family}{bits}" for family in _TYPES for bits in (256, 384, 512)}
    require(bool(algorithms) and set(algorithms) <= known, "algorithms", algorithms, f"some of {sorted(known)}")
    return algorithms


def keys_in(document: bytes) -> Mapping[str | None, SigningKey]:
    """Return the signing keys of a JSON Web Key Set by their ids; those that cannot be used are left out.

    Raises ``InvalidValue`` for what is no such set, or holds no key that can be used.
    """
    try:
        listed = json.loads(document)["keys"]
        found = {key.get("kid"): _usable(key) for key in listed[:MOST_KEYS] if isinstance(key, dict)}
    except (ValueError, TypeError, KeyError, RecursionError) as wrong:
        raise InvalidValue("keys", f"{len(document)} bytes", "a JSON Web Key Set") from wrong
    usable = {name: key for name, key in found.items() if key is not None}
    require(bool(usable), "keys", f"{len(found)} keys", "a set with a signing key, RSA of 2048 bits or more, or EC")
    return usable


def claims_in(
    text: str, key_of: Callable[[str | None], SigningKey | None], algorithms: tuple[str, ...]
) -> Mapping[str, Any]:
    """Return the claims of a token that a key of the issuer signed. Raises ``Unauthenticated``.

    Of its header only the algorithm, one of ``algorithms``, and the id of the key are believed; where else a header
    says that a key is to be found is not looked at. ``key_of`` finds a key by its id.
    """

    def chosen(token: jwk.GuestProtocol) -> jwk.RSAKey | jwk.ECKey:
        header = token.headers()
        kid, algorithm = header.get("kid"), header["alg"]
        if kid is not None and not (isinstance(kid, str) and len(kid) <= LONGEST_KEY_ID):
            raise Unauthenticated("malformed")
        key = key_of(kid)
        if key is None:
            raise Unauthenticated("unknown key")
        if key.kind != _TYPES[algorithm[:2]] or key.algorithm not in (None, algorithm):
            raise Unauthenticated("algorithm")
        return key.key

    try:
        verified = jws.deserialize_compact(text.encode(), chosen, algorithms=algorithms)
        claims = json.loads(verified.payload, parse_constant=_refuse_constant)
    except (JoseError, ValueError, RecursionError) as refused:
        raise Unauthenticated(f"signature: {type(refused).__name__}") from refused
    if not isinstance(claims, dict):
        raise Unauthenticated("malformed")
    return claims


def _usable(found: Mapping[str, Any]) -> SigningKey | None:
    """Return a key for signatures, or None for any other."""
    if found.get("kty") not in _TYPES.values() or found.get("use", "sig") != "sig":
        return None
    if not isinstance(found.get("kid"), str | None) or not isinstance(found.get("alg"), str | None):
        return None
    if "verify" not in found.get("key_ops", ["verify"]):
        return None
    public = {name: found[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in found}
    if public["kty"] == "RSA" and len(str(public.get("n"))) * 6 < FEWEST_RSA_BITS:
        return None
    try:
        key = jwk.import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
    return SigningKey(found["kty"], found.get("alg"), key) if isinstance(key, jwk.RSAKey | jwk.ECKey) else None


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
