"""Who calls, and what that caller may do. Values only."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from quadra_matrix.errors import require

EVERYTHING = "*"
"""The scope that stands for every other one."""

PUBLIC = "public"
"""What an operation needs that everybody may call; no credential is looked at."""

KNOWN = "known"
"""What an operation needs that everybody may call whose credential holds, whatever its scopes."""

_SCOPE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")


class Via(enum.StrEnum):
    """What showed who calls."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - the word
    SESSION = "session"
    LOCAL = "local"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credential holds, or who needs none."""

    subject: str
    """As audit trails name it: ``key:ID``, ``ISSUER|SUBJECT`` of a token, ``local`` or ``anonymous``."""
    name: str
    """For people."""
    scopes: frozenset[str]
    via: Via
    expires: float | None = None
    """Seconds since the epoch after which it no longer holds."""
    key: str | None = None
    """Id of the key or the session, where there is one."""

    def may(self, need: str) -> bool:
        """Tell whether the scopes of the caller are enough for a need."""
        if need == KNOWN:
            return self.via is not Via.NOTHING
        return need == PUBLIC or need in self.scopes or EVERYTHING in self.scopes


def anonymous(scopes: frozenset[str]) -> Identity:
    """Return the caller who shows nothing."""
    return Identity("anonymous", "anonymous", scopes, Via.NOTHING)


def local(scopes: frozenset[str]) -> Identity:
    """Return the caller on this very machine who shows nothing."""
    return Identity("local", "this machine", scopes, Via.LOCAL)


def require_scope(scope: str) -> str:
    """Return a scope that may be given to a key; raise ``InvalidValue`` for anything else."""
    legal = scope == EVERYTHING or (_SCOPE.fullmatch(scope) is not None and scope not in (PUBLIC, KNOWN))
    require(legal, "scope", scope, "lower-case letters, digits and _.:- after a letter, or *")
    return scope
