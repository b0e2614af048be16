"""What the rules of access announce. No event holds anything of a credential."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class CallRefused(Event):
    """A caller was refused: ``refusal`` is one of a few words, ``subject`` who it was, as far as that is known."""

    refusal: str
    operation: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class SignedIn(Event):
    """Somebody got a session."""

    subject: str
    address: str


@dataclass(frozen=True, slots=True)
class SignInFailed(Event):
    """Somebody tried to get a session and showed nothing that holds."""

    reason: str
    address: str


@dataclass(frozen=True, slots=True)
class SignedOut(Event):
    """A session was ended by its holder."""

    subject: str


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """A caller had used up a limit."""

    limit: str
    subject: str


@dataclass(frozen=True, slots=True)
class SharedLimitsLost(Event):
    """The store of shared limits does not answer; each process counts alone, and what fails closed is closed."""

    reason: str


@dataclass(frozen=True, slots=True)
class SharedLimitsBack(Event):
    """The store of shared limits answers again."""

    away_seconds: float


@dataclass(frozen=True, slots=True)
class SigningKeysRead(Event):
    """The signing keys of an issuer of tokens were read."""

    issuer: str
    keys: int


@dataclass(frozen=True, slots=True)
class SigningKeysUnreadable(Event):
    """The signing keys of an issuer could not be read; the last ones go on."""

    issuer: str
    reason: str
