"""What a project accepts: severity limits, licences, and waivers that end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from quadra_matrix.errors import require
from quadra_matrix.supply.finding import Check, Finding, Severity

PERMISSIVE = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "ISC",
        "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""The licences that a policy without a list of its own allows: they ask for no more than a notice."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A finding that is known and accepted for a time, with the reason."""

    rule: str
    subject: str
    """The package or the file; ``*`` and ``?`` as in a shell."""
    reason: str
    until: float
    """Seconds since the epoch, UTC, from which it no longer holds."""

    def __post_init__(self) -> None:
        """Refuse a waiver that does not say what and why."""
        require(bool(self.rule.strip("* ")), "waiver.rule", self.rule, "it must name one rule")
        require(bool(self.subject.strip()), "waiver.subject", self.subject, "it must name a package or a file")
        require(bool(self.reason.strip()), "waiver.reason", self.reason, "it must say why the finding is accepted")

    def covers(self, finding: Finding) -> bool:
        """Tell whether the waiver speaks of this finding, whatever the time."""
        return self.rule in finding.names and fnmatchcase(finding.subject, self.subject)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one project. The default is strict: every finding fails, every check must be answered."""

    fail_at: Mapping[Check, Severity] = field(default_factory=dict)
    """The least severity that fails, for each check; a check without an entry fails at the lowest."""
    required: frozenset[Check] = frozenset(Check)
    """Checks without which the gate does not answer."""
    licences: frozenset[str] = PERMISSIVE
    """SPDX identifiers that dependencies may have."""
    stated: Mapping[str, str] = field(default_factory=dict)
    """Package -> SPDX expression, for packages whose metadata does not say it."""
    waivers: tuple[Waiver, ...] = ()
    advisories_age: float = 7.0
    """Days after which a snapshot of advisories is too old to prove anything."""
    not_secret: tuple[str, ...] = ()
    """Files that hold nothing but made-up secrets, as patterns: the search for secrets leaves them out."""

    def __post_init__(self) -> None:
        """Refuse limits that would switch the gate off."""
        require(bool(self.required), "required", "nothing", "at least one check must be required")
        require(self.advisories_age > 0, "advisories_age", self.advisories_age, "it must be above 0 days")

    def tolerates(self, finding: Finding) -> bool:
        """Tell whether the finding is below the limit of its check."""
        return finding.severity < self.fail_at.get(finding.check, Severity.LOW)
