"""The decision of the gate: clean, findings or inconclusive. Nothing that was not looked at is ever clean."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quadra_matrix.supply.finding import Check, Finding, Scan, Severity
from quadra_matrix.supply.policy import Policy, Waiver


class Outcome(enum.StrEnum):
    """What the gate says."""

    CLEAN = "clean"
    FINDINGS = "findings"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Waived:
    """A finding, and the waiver that accepts it."""

    finding: Finding
    waiver: Waiver


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome and everything it rests on."""

    outcome: Outcome
    blocking: tuple[Finding, ...]
    waived: tuple[Waived, ...]
    tolerated: tuple[Finding, ...]
    doubts: tuple[str, ...]
    """Why the gate cannot vouch for a check, a sentence each."""
    expired: tuple[Waiver, ...]
    """Waivers that are over; each one fails the gate until it is renewed or taken out."""
    unused: tuple[Waiver, ...]
    """Waivers that hold and cover nothing that was found."""
    scans: tuple[Scan, ...]


def judge(policy: Policy, scans: Iterable[Scan], now: float) -> Verdict:
    """Return what the gate says about ``scans`` at ``now``, seconds since the epoch.

    Findings outrank doubts: they are certain, and doubts only mean that there may be more.
    """
    done = tuple(scans)
    valid = tuple(waiver for waiver in policy.waivers if now < waiver.until)
    expired = tuple(waiver for waiver in policy.waivers if now >= waiver.until)
    blocking, waived, tolerated = [], [], []
    for finding in _worst_first(done):
        waiver = next((each for each in valid if each.covers(finding)), None)
        if policy.tolerates(finding):
            tolerated.append(finding)
        elif waiver is not None:
            waived.append(Waived(finding, waiver))
        else:
            blocking.append(finding)
    doubts = tuple(_doubts(policy.required, done))
    used = {each.waiver for each in waived}
    return Verdict(
        outcome=_outcome(red=bool(blocking or expired), doubtful=bool(doubts)),
        blocking=tuple(blocking),
        waived=tuple(waived),
        tolerated=tuple(tolerated),
        doubts=doubts,
        expired=expired,
        unused=tuple(waiver for waiver in valid if waiver not in used),
        scans=done,
    )


def _outcome(*, red: bool, doubtful: bool) -> Outcome:
    if red:
        return Outcome.FINDINGS
    return Outcome.INCONCLUSIVE if doubtful else Outcome.CLEAN


def _worst_first(scans: Sequence[Scan]) -> list[Finding]:
    found = [finding for scan in scans for finding in scan.findings]
    return sorted(
        found, key=lambda each: (-Severity(each.severity), each.check, each.subject, each.line or 0, each.rule)
    )


def _doubts(required: frozenset[Check], scans: Sequence[Scan]) -> list[str]:
    """Return every reason for which a check is not answered, optional scanners that failed included."""
    answered = {scan.check for scan in scans}
    missing = [f"{check}: no scanner ran" for check in sorted(required - answered)]
    return missing + [f"{scan.check}: {scan.scanner}: {scan.doubt}" for scan in scans if scan.doubt is not None]
