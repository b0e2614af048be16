"""What a JSON text says that a tolerant parser keeps silent about: repeated keys, NaN, overflow, NUL."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from quadra_matrix.api.problem import FieldError, Location, pointer

_WORTH_A_LOOK = (b"\\u0000", b"NaN", b"Infinity")


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a text that a JSON parser has read without complaint."""

    syntax: list[FieldError]
    """Errors of the text: a repeated key, a bare NaN or Infinity."""
    values: list[FieldError]
    """Errors of a value: a number beyond a double, a NUL in a string."""


class _Members(list[tuple[str, Any]]):
    """The members of one object, repeated keys included."""


def is_plain(raw: bytes, members: int) -> bool:
    """Tell by three fast scans that a text with this many distinct keys has nothing to find.

    Every member has one colon outside of strings, so a text with no more colons than keys repeats none of them.
    """
    return raw.count(b":") == members and not any(token in raw for token in _WORTH_A_LOOK)


def is_suspect(raw: bytes) -> bool:
    """Tell by one parse without a look at the values whether ``inspect`` may find a repeated key, NaN or NUL."""
    if any(token in raw for token in _WORTH_A_LOOK):
        return True
    try:
        json.loads(raw, object_pairs_hook=_unique, parse_int=len, parse_float=len)
    except _Repeated:
        return True
    return False


class _Repeated(Exception):
    """An object has a key twice."""


def _unique(members: list[tuple[str, Any]]) -> None:
    """Raise if a key stands there twice."""
    if len(dict(members)) != len(members):
        raise _Repeated


def inspect(raw: bytes, location: Location = "body") -> Findings:
    """Return what is wrong with a text that a JSON parser with a depth limit has accepted."""
    found = Findings([], [])
    # Integers stay text: Python refuses to convert more than 4300 digits, and nobody asks for their value here.
    document = json.loads(raw, object_pairs_hook=_Members, parse_constant=_Constant, parse_int=len)
    todo: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while todo:
        place, value = todo.pop()
        if isinstance(value, _Members):
            _look_for_repeats(value, place, found, location)
            todo += [((*place, key), member) for key, member in reversed(value) if member.__class__ is not int]
        elif isinstance(value, list):
            # Nothing can be wrong with most of a long text, so it never gets onto the list.
            held = [(index, item) for index, item in enumerate(value) if item.__class__ not in _QUIET and item != []]
            todo += [((*place, index), item) for index, item in reversed(held)]
        else:
            _look_at(value, place, found, location)
    return found


_QUIET = frozenset({int, bool, type(None)})


class _Constant(str):
    """A bare NaN, Infinity or -Infinity: JavaScript, not JSON."""

    __slots__ = ()


def _look_for_repeats(members: _Members, place: tuple[str | int, ...], found: Findings, location: Location) -> None:
    """Report every key of one object that stands there twice, and keys with a NUL."""
    seen: set[str] = set()
    for key, _ in members:
        if key in seen:
            found.syntax.append(FieldError("the key is repeated", pointer(*place, key), location))
        elif "\0" in key:
            found.values.append(FieldError("the key contains a NUL character", pointer(*place, key), location))
        seen.add(key)


def _look_at(value: object, place: tuple[str | int, ...], found: Findings, location: Location) -> None:
    """Report what is wrong with one scalar."""
    if isinstance(value, _Constant):
        found.syntax.append(FieldError(f"{value} is not a JSON number", pointer(*place), location))
    elif isinstance(value, float) and not math.isfinite(value):
        found.values.append(FieldError("the number is too large for a double", pointer(*place), location))
    elif isinstance(value, str) and "\0" in value:
        found.values.append(FieldError("the text contains a NUL character", pointer(*place), location))


def without_nan(value: Any) -> Any:
    """Return a copy of a JSON-like value with None for every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
