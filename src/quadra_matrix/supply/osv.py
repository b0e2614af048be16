"""Advisories in the OSV format, from a folder, a zip archive or a server that speaks OSV's API."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from quadra_matrix import client
from quadra_matrix.errors import ScannerFailed, ServiceError, ServiceUnreachable
from quadra_matrix.supply.finding import Check, Finding, Scan, Severity
from quadra_matrix.supply.pins import Pin

NAME = "osv"
RATINGS = {"LOW": Severity.LOW, "MODERATE": Severity.MEDIUM, "MEDIUM": Severity.MEDIUM, "HIGH": Severity.HIGH,
           "CRITICAL": Severity.CRITICAL}  # fmt: skip
DAY = 86400.0
"""Seconds."""

Advisory = Mapping[str, Any]


def snapshot(place: Path, pins: Sequence[Pin], *, now: float, oldest: float) -> Scan:
    """Return what the advisories in ``place`` say about ``pins``.

    ``place`` is a folder of JSON files or a zip of them, as OSV publishes one for each ecosystem. Advisories of which
    the newest changed more than ``oldest`` days before ``now`` prove nothing.
    """
    advisories = list(_load(place))
    newest = max((_changed(each) for each in advisories), default=None)
    if newest is None:
        raise ScannerFailed(NAME, f"{place} holds no advisory")
    if now - newest > oldest * DAY:
        raise ScannerFailed(NAME, f"the newest advisory in {place} is {(now - newest) / DAY:.0f} days old")
    return Scan(Check.ADVISORIES, NAME, looked_at=len(pins), findings=tuple(match(advisories, pins)))


def server(url: str, pins: Sequence[Pin]) -> Scan:
    """Return what the OSV server at ``url`` says about ``pins``, a question for each of them."""
    findings = [found for pin in pins for found in match(_ask(url.rstrip("/"), pin), [pin])]
    return Scan(Check.ADVISORIES, NAME, looked_at=len(pins), findings=tuple(findings))


def match(advisories: Iterable[Advisory], pins: Sequence[Pin]) -> Iterator[Finding]:
    """Yield a finding for each pin that an advisory names."""
    versions: dict[str, list[Pin]] = {}
    for pin in pins:
        versions.setdefault(pin.name, []).append(pin)
    for advisory in advisories:
        if advisory.get("withdrawn"):
            continue
        told = set()
        for affected in advisory.get("affected", []):
            package = affected.get("package", {})
            name = canonicalize_name(str(package.get("name", "")))
            if package.get("ecosystem") == "PyPI":
                told |= {pin for pin in versions.get(name, ()) if _hits(affected, pin, advisory)}
        yield from (_finding(advisory, pin) for pin in sorted(told, key=lambda pin: (pin.name, pin.version)))


def _load(place: Path) -> Iterator[Advisory]:
    try:
        if place.is_dir():
            yield from (json.loads(file.read_bytes()) for file in sorted(place.rglob("*.json")))
            return
        with zipfile.ZipFile(place) as archive:
            yield from (json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json"))
    except (OSError, ValueError, zipfile.BadZipFile) as broken:
        raise ScannerFailed(NAME, f"{place} cannot be read: {broken}") from broken


def _ask(url: str, pin: Pin) -> Iterator[Advisory]:
    question: dict[str, Any] = {"version": pin.version, "package": {"name": pin.name, "ecosystem": "PyPI"}}
    for _ in range(100):  # pages; a server that never ends is broken
        try:
            answer = client.request(f"{url}/v1/query", method="POST", body=question)
        except (ServiceError, ServiceUnreachable, ValueError) as failed:
            raise ScannerFailed(NAME, f"{pin.name} could not be looked up: {failed}") from failed
        if not isinstance(answer, dict):
            raise ScannerFailed(NAME, f"{pin.name} could not be looked up: {url} does not answer as OSV does")
        yield from answer.get("vulns", [])
        if not answer.get("next_page_token"):
            return
        question = {**question, "page_token": answer["next_page_token"]}
    raise ScannerFailed(NAME, f"{pin.name} could not be looked up: the answer of {url} does not end")


def _changed(advisory: Advisory) -> float:
    try:
        return dt.datetime.fromisoformat(str(advisory["modified"])).timestamp()
    except (KeyError, ValueError, TypeError) as broken:
        raise ScannerFailed(NAME, "an advisory does not say when it was modified") from broken


def _hits(affected: Mapping[str, Any], pin: Pin, advisory: Advisory) -> bool:
    """Tell whether the pin is among the versions or in one of the ranges."""
    try:
        at = Version(pin.version)
        if any(_same(at, text) for text in affected.get("versions", [])):
            return True
        ranges = [each["events"] for each in affected.get("ranges", []) if each.get("type") == "ECOSYSTEM"]
        silent = not affected.get("versions") and not affected.get("ranges")
        return silent or any(_within(at, events) for events in ranges)
    except (InvalidVersion, KeyError) as broken:
        raise ScannerFailed(NAME, f"{advisory.get('id')} cannot be compared with {pin}: {broken}") from broken


def _same(at: Version, text: str) -> bool:
    try:
        return Version(text) == at
    except InvalidVersion:  # releases from before versions had rules; none of ours is one
        return False


def _within(at: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Walk the events in the order of their versions, as the format prescribes."""
    steps = [(Version(text), kind) for event in events for kind, text in event.items()]
    inside = False
    for version, kind in sorted(steps):
        if kind == "introduced" and (at >= version or version == Version("0")):
            inside = True
        elif (kind == "fixed" and at >= version) or (kind == "last_affected" and at > version):
            inside = False
    return inside


def _finding(advisory: Advisory, pin: Pin) -> Finding:
    return Finding(
        check=Check.ADVISORIES,
        scanner=NAME,
        rule=str(advisory["id"]),
        subject=pin.name,
        message=f"{pin.name} {pin.version}: {advisory.get('summary') or advisory.get('details', 'no description')}",
        severity=RATINGS.get(str(advisory.get("database_specific", {}).get("severity")).upper(), Severity.UNRATED),
        aliases=tuple(advisory.get("aliases", ())),
        fixed_in=_fix(advisory, pin),
    )


def _fix(advisory: Advisory, pin: Pin) -> str | None:
    """Return the lowest fixed version above the pin."""
    events = [
        event
        for affected in advisory.get("affected", [])
        if canonicalize_name(str(affected.get("package", {}).get("name", ""))) == pin.name
        for each in affected.get("ranges", [])
        if each.get("type") == "ECOSYSTEM"
        for event in each["events"]
    ]
    fixes = [Version(event["fixed"]) for event in events if "fixed" in event]
    return min((str(each) for each in sorted(fixes) if each > Version(pin.version)), key=Version, default=None)
