"""The operators of targeting rules: each turns its operand into a test of a value. Pure.

``patterns`` and ``semver`` are imported on use: their own expressions take 6 ms to compile.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from quadra_matrix.errors import InvalidValue, require

MOST_MEMBERS = 10_000
"""Values that a list in a rule may hold."""

TEXT = frozenset({str})
NUMBER = frozenset({int, float})
FLAG = frozenset({bool})
LIST = frozenset({list, tuple, set, frozenset})


@dataclass(frozen=True, slots=True)
class Test:
    """A compiled operator: the exact types it reads, and what must hold of a value of these.

    ``holds`` is a built-in where there is one, so that the common case runs no Python frame.
    """

    types: frozenset[type]
    holds: Callable[[Any], bool]

    def accepts(self, value: object) -> bool:
        """Tell whether a value of an unusual class (a subclass of str, say) is of a kind that the test reads."""
        return not isinstance(value, bool) and isinstance(value, tuple(self.types - FLAG))


Operator = Callable[[object, str], Test]
"""Takes the operand and its path; raises ``InvalidValue`` with that path."""


def is_present(value: object) -> bool:
    """Tell whether a value says something: None and NaN do not."""
    return value is not None and not (isinstance(value, float) and value != value)


def is_scalar(value: object) -> bool:
    """Tell whether a value can be compared: text, a number other than NaN, true or false."""
    return isinstance(value, (str, int, float)) and is_present(value)


def _types(value: object) -> frozenset[type]:
    """Return the types whose values can equal ``value``: True equals 1 in Python, but not in a rule."""
    if isinstance(value, bool):
        return FLAG
    return TEXT if isinstance(value, str) else NUMBER


def _scalar(operand: object, path: str) -> Any:
    """Return the operand if it is text, a number or a truth value."""
    require(is_scalar(operand), path, operand, "text, a number, true or false")
    return operand


def _equals(operand: object, path: str) -> Test:
    return Test(_types(_scalar(operand, path)), partial(operator.eq, operand))


def _differs(operand: object, path: str) -> Test:
    return Test(_types(_scalar(operand, path)), lambda value: value != operand and is_present(value))


def _members(operand: object, path: str) -> tuple[frozenset[type], Callable[[Any], bool]]:
    """Return the types in a list operand, and the membership test."""
    if not isinstance(operand, Sequence) or isinstance(operand, str):
        raise InvalidValue(path, operand, "a list")
    require(0 < len(operand) <= MOST_MEMBERS, path, f"{len(operand)} values", f"a list of 1 to {MOST_MEMBERS}")
    types: frozenset[type] = frozenset().union(*(_types(_scalar(value, path)) for value in operand))
    if types >= FLAG | NUMBER:  # only here can a 1 be mistaken for True
        pairs = frozenset((_types(value), value) for value in operand)
        return types, lambda value: (_types(value), value) in pairs
    return types, frozenset(operand).__contains__


def _in(operand: object, path: str) -> Test:
    return Test(*_members(operand, path))


def _not_in(operand: object, path: str) -> Test:
    types, among = _members(operand, path)
    return Test(types, lambda value: not among(value) and is_present(value))


def _ordered(compare: Callable[[Any, Any], bool]) -> Operator:
    """Return the operator for values on one side of the operand; ``compare`` takes the operand first."""

    def build(operand: object, path: str) -> Test:
        require(is_scalar(operand) and not isinstance(operand, bool), path, operand, "a number or text")
        return Test(_types(operand), partial(compare, operand))

    return build


def _between(operand: object, path: str) -> Test:
    rule = "a list of two numbers or two texts, the lower first"
    if not isinstance(operand, Sequence) or isinstance(operand, str) or len(operand) != 2:
        raise InvalidValue(path, operand, rule)
    low, high = operand
    require(is_scalar(low) and is_scalar(high) and _types(low) == _types(high) != FLAG, path, operand, rule)
    require(low <= high, path, operand, rule)
    return Test(_types(low), lambda value: low <= value <= high)


def _regex(operand: object, path: str) -> Test:
    if not isinstance(operand, str):
        raise InvalidValue(path, operand, "a regular expression")
    from quadra_matrix.experiments.patterns import LONGEST_TEXT, compile_pattern

    search = compile_pattern(operand, path).search
    return Test(TEXT, lambda value: len(value) <= LONGEST_TEXT and search(value) is not None)


def _contains(operand: object, path: str) -> Test:
    _scalar(operand, path)
    if not isinstance(operand, str):
        return Test(LIST, lambda value: any(type(item) in _types(operand) and item == operand for item in value))
    return Test(TEXT | LIST, lambda value: operand in value)


def _semver(operand: object, path: str) -> Test:
    if not isinstance(operand, str):
        raise InvalidValue(path, operand, "a version range such as '>=1.2.0 <2.0.0'")
    from quadra_matrix.experiments.semver import compile_range, parse_version

    within = compile_range(operand, path)

    def holds(value: str) -> bool:
        version = parse_version(value)
        return version is not None and within(version)

    return Test(TEXT, holds)


OPERATORS: Mapping[object, Operator] = {
    "eq": _equals,
    "ne": _differs,
    "in": _in,
    "not_in": _not_in,
    "gt": _ordered(operator.lt),
    "gte": _ordered(operator.le),
    "lt": _ordered(operator.gt),
    "lte": _ordered(operator.ge),
    "between": _between,
    "regex": _regex,
    "contains": _contains,
    "semver": _semver,
}
"""Name in a rule -> how to compile it. ``exists`` is not here: it asks about the attribute, not about its value."""
