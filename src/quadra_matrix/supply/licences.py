"""The licences of the packages that a project pins, from the metadata that is installed here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from importlib import metadata

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply.finding import Check, Finding, Scan, Severity
from quadra_matrix.supply.pins import Pin
from quadra_matrix.supply.policy import Policy

NAME = "licences"
CLASSIFIERS = {
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "OSI Approved :: BSD License": "BSD-3-Clause",
    "OSI Approved :: ISC License (ISCL)": "ISC",
    "OSI Approved :: MIT License": "MIT",
    "OSI Approved :: MIT No Attribution License (MIT-0)": "MIT-0",
    "OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "OSI Approved :: GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "OSI Approved :: GNU Affero General Public License v3": "AGPL-3.0-only",
}
"""Trove classifier, after ``License :: `` -> SPDX identifier."""
APPROVED = "License :: OSI Approved :: "
IDENTIFIER = re.compile(r"[A-Za-z0-9.+-]+(-[A-Za-z0-9.+]+)*\Z")


def scan(pins: Sequence[Pin], policy: Policy) -> Scan:
    """Return the packages whose licence the policy does not allow. One that is not installed cannot be looked at."""
    findings, missing = [], []
    for pin in pins:
        try:
            told = policy.stated.get(pin.name) or licence_of(metadata.distribution(pin.name).metadata)
        except metadata.PackageNotFoundError:
            missing.append(pin.name)
            continue
        if told is None or not allows(told, policy.licences):
            said = "its metadata states no licence that is known" if told is None else f"{told} is not allowed"
            findings.append(Finding(Check.LICENCES, NAME, told or "unknown", pin.name, said, Severity.HIGH))
    trouble = f"not installed: {', '.join(missing)}" if missing else None
    return Scan(Check.LICENCES, NAME, len(pins) - len(missing), tuple(findings), trouble)


def licence_of(told: metadata.PackageMetadata) -> str | None:
    """Return the SPDX expression that the metadata states: its own field, else a classifier, else a short text."""
    if "License-Expression" in told:
        return told["License-Expression"]
    every = [text.removeprefix("License :: ") for text in told.get_all("Classifier") or () if text.startswith(APPROVED)]
    if every:
        return " OR ".join(CLASSIFIERS[each] for each in every) if all(each in CLASSIFIERS for each in every) else None
    text = told["License"] if "License" in told else ""  # noqa: SIM401  its type has no get
    return text if IDENTIFIER.match(text) else None


def allows(expression: str, allowed: Collection[str]) -> bool:
    """Tell whether the SPDX expression can be met with the allowed licences.

    >>> allows("MIT OR GPL-3.0-only", {"MIT"}), allows("MIT AND GPL-3.0-only", {"MIT"})
    (True, False)
    """
    words = expression.replace("(", " ( ").replace(")", " ) ").split()
    met, rest = _either(words, frozenset(each.lower() for each in allowed))
    if rest:
        raise ScannerFailed(NAME, f"{expression!r} is no SPDX expression")
    return met


def _either(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    met, rest = _both(words, allowed)
    while rest and rest[0].upper() == "OR":
        more, rest = _both(rest[1:], allowed)
        met = met or more
    return met, rest


def _both(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    met, rest = _one(words, allowed)
    while rest and rest[0].upper() == "AND":
        more, rest = _one(rest[1:], allowed)
        met = met and more
    return met, rest


def _one(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    """Read one licence, with its exception if it has one, or a group in brackets."""
    if not words:
        return False, ["nothing"]
    if words[0] == "(":
        met, rest = _either(words[1:], allowed)
        return met, rest[1:] if rest[:1] == [")"] else ["("]
    if words[1:2] and words[1].upper() == "WITH":
        return " ".join([words[0], "with", *words[2:3]]).lower() in allowed, words[3:]
    return words[0].lower() in allowed, words[1:]
