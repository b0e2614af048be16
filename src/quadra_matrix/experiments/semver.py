"""Versions and ranges of them, ordered as semver.org 2.0.0 says. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from quadra_matrix.errors import InvalidValue

Version = tuple[int, int, int, tuple[Any, ...]]
"""Major, minor, patch, and a key that orders pre-releases before the release."""

LONGEST = 128
"""Characters of a version; more is not one."""

# Build metadata (after +) is read and ignored: it has no precedence.
_VERSION = re.compile(
    r"v?(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_COMPARATOR = re.compile(r"(>=|<=|>|<|=|)(.+)")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "": operator.eq,
}


def parse_version(text: str) -> Version | None:
    """Return the version in ``text``, or None where there is none."""
    found = _VERSION.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    if before is None:
        return int(major), int(minor), int(patch), (1,)  # behind every pre-release
    # A number precedes text, and a shorter list of equal parts precedes a longer one.
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split("."))
    return int(major), int(minor), int(patch), (0, parts)


def compile_range(text: str, path: str) -> Callable[[Version], bool]:
    """Return the test of a range: comparators (``>=1.2.0``) separated by spaces, all of which must hold."""
    bounds: list[tuple[Callable[[Any, Any], bool], Version]] = []
    for word in text.split():
        found = _COMPARATOR.fullmatch(word)
        version = parse_version(found[2]) if found else None
        if found is None or version is None:
            raise InvalidValue(path, text, "comparators like '>=1.2.0 <2.0.0', each with a full version")
        bounds.append((_COMPARE[found[1]], version))
    if not bounds:
        raise InvalidValue(path, text, "at least one comparator like '>=1.2.0'")
    return lambda version: all(compare(version, bound) for compare, bound in bounds)
