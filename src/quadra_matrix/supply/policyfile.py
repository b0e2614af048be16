"""Read a policy from TOML. A key that is not known is refused: a misspelt limit must not be no limit."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quadra_matrix.errors import InvalidValue, PolicyUnreadable, require
from quadra_matrix.supply.finding import Check, Severity
from quadra_matrix.supply.policy import PERMISSIVE, Policy, Waiver

KEYS = frozenset({"advisories_age", "fail_at", "licences", "not_secret", "required", "waivers"})
DAY = 86400.0
"""Seconds."""


def read(path: Path) -> Policy:
    """Return the policy in ``path``; ``PolicyUnreadable`` says what is wrong with it."""
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, InvalidValue) as refused:
        raise PolicyUnreadable(str(path), str(refused)) from refused


def parse(document: Mapping[str, Any]) -> Policy:
    """Return the policy of a document; every value that breaks a rule is refused by name."""
    _only(document, KEYS, "policy")
    licences = _table(document, "licences")
    _only(licences, frozenset({"allowed", "stated"}), "licences")
    return Policy(
        fail_at={Check(check): _severity(text) for check, text in _table(document, "fail_at").items()},
        required=frozenset(map(Check, _texts(document.get("required", list(Check)), "required"))),
        licences=frozenset(_texts(licences.get("allowed", sorted(PERMISSIVE)), "licences.allowed")),
        stated={name.lower(): str(text) for name, text in _table(licences, "stated").items()},
        waivers=tuple(map(_waiver, document.get("waivers", []))),
        advisories_age=float(document.get("advisories_age", 7)),
        not_secret=_texts(document.get("not_secret", []), "not_secret"),
    )


def _waiver(entry: Mapping[str, Any]) -> Waiver:
    _only(entry, frozenset({"rule", "subject", "reason", "until"}), "waivers")
    until = entry.get("until")
    day = type(until) is dt.date
    require(day, "waivers.until", until, "it must be a date, as 2027-03-31, the last day on which the waiver holds")
    assert isinstance(until, dt.date)
    midnight = dt.datetime.combine(until, dt.time(), dt.UTC).timestamp()
    texts = {key: str(entry.get(key, "")) for key in ("rule", "subject", "reason")}
    return Waiver(**texts, until=midnight + DAY)


def _severity(text: object) -> Severity:
    names = [severity.name.lower() for severity in Severity if severity is not Severity.UNRATED]
    require(text in names, "fail_at", text, f"it must be one of {', '.join(names)}")
    return Severity[str(text).upper()]


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key, {})
    require(isinstance(found, dict), key, found, "it must be a table")
    return dict(found)


def _texts(found: object, key: str) -> tuple[str, ...]:
    require(isinstance(found, list), key, found, "it must be a list")
    assert isinstance(found, list)
    return tuple(map(str, found))


def _only(found: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    strange = sorted(set(found) - known)
    require(not strange, where, ", ".join(strange), f"its keys are {', '.join(sorted(known))}")
