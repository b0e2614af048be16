"""The values that every scanner is read into: what was found, and what was looked at."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """How bad a finding is. ``UNRATED`` ranks highest: what nobody has rated is not below any limit."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4
    UNRATED = 5


class Check(enum.StrEnum):
    """The questions of an audit. Each is answered by one scanner or several."""

    ADVISORIES = "advisories"
    CODE = "code"
    LICENCES = "licences"
    SECRETS = "secrets"  # pragma: allowlist secret
    WORKFLOWS = "workflows"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a scanner objects to."""

    check: Check
    scanner: str
    rule: str
    """What the scanner calls it: an advisory, a rule of a linter, a licence."""
    subject: str
    """What it is about: the name of a package, or a file relative to the project."""
    message: str
    severity: Severity = Severity.UNRATED
    aliases: tuple[str, ...] = ()
    """Other names of the same rule, as a CVE of a GHSA."""
    line: int | None = None
    """Line of the file, from 1; None where the subject is no file."""
    fixed_in: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """Every name under which a waiver may speak of it."""
        return frozenset((self.rule, *self.aliases))


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scanner did. A scan that looked at nothing, or met trouble, answers nothing."""

    check: Check
    scanner: str
    looked_at: int = 0
    """Packages or files that were really examined."""
    findings: tuple[Finding, ...] = ()
    trouble: str | None = None
    """Why some of what should have been examined was not; None where everything was."""

    @property
    def doubt(self) -> str | None:
        """Why the scan proves nothing, or None."""
        if self.trouble is None and self.looked_at <= 0:
            return "it looked at nothing"
        return self.trouble
