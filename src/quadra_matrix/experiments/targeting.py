"""Which units an experiment is for: rules compiled once, then asked per unit. Pure.

Rules are a mapping of attribute to condition; all must hold. A condition is a value (equality) or a mapping of operator
to operand. ``and`` and ``or`` hold a list of rules, ``not`` holds one. Logic has three values: a rule about an
attribute that is missing, None, NaN or of another type is *unknown*, and unknown refuses the unit, also under ``not``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from quadra_matrix.errors import InvalidValue, require
from quadra_matrix.experiments.operators import OPERATORS, Test, is_present

DEEPEST = 16
"""Levels of and/or/not that rules may nest."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a unit is not meant: the rule, and whether it failed or could not be answered."""

    reason: str
    unknown: bool = False


Check = Callable[[Mapping[str, Any]], Refusal | None]
"""Returns why these attributes are refused, or None when the unit is meant. Never raises."""


def compile_rules(rules: object, path: str = "targeting_rules") -> Check:
    """Return the check that ``rules`` describe; raise ``InvalidValue`` naming the path of the first mistake."""
    return _all(_checks(rules, path, 0))


def _checks(rules: object, path: str, depth: int) -> list[Check]:
    """Compile a mapping of rules."""
    if not isinstance(rules, Mapping):
        raise InvalidValue(path, rules, "a mapping of attribute to condition")
    require(depth <= DEEPEST, path, "...", f"nested at most {DEEPEST} levels deep")
    checks: list[Check] = []
    for name, condition in rules.items():
        require(isinstance(name, str) and name != "", path, name, "a mapping with names as keys")
        checks += _rule(name, condition, f"{path}.{name}", depth)
    return checks


def _rule(name: str, condition: object, path: str, depth: int) -> list[Check]:
    """Compile what stands under one name: a connective or an attribute."""
    if name in {"and", "or"}:
        if not isinstance(condition, Sequence) or isinstance(condition, str) or not condition:
            raise InvalidValue(path, condition, "a list of at least one rule")
        parts = [_all(_checks(rule, f"{path}[{place}]", depth + 1)) for place, rule in enumerate(condition)]
        return [_all(parts) if name == "and" else _any(parts, path)]
    if name == "not":
        return [_not(_all(_checks(condition, path, depth + 1)), path)]
    if not isinstance(condition, Mapping):
        condition = {"eq": condition}
    require(len(condition) > 0, path, dict(condition), "a value or a mapping of operator to operand")
    return [_attribute(name, operator, operand, f"{path}.{operator}") for operator, operand in condition.items()]


def _attribute(name: str, operator: object, operand: object, path: str) -> Check:
    """Compile one operator on one attribute."""
    if operator == "exists":
        return _exists(name, operand, path)
    if operator not in OPERATORS:
        raise InvalidValue(path, operator, f"one of exists, {', '.join(map(str, OPERATORS))}")
    test = OPERATORS[operator](operand, path)
    return _tested(name, test, Refusal(f"{name} fails {operator} {operand!r}"))


def _tested(name: str, test: Test, failed: Refusal) -> Check:
    """Return the check of one test; the usual types of a value take the short way."""
    missing = Refusal(f"{name} is missing", unknown=True)
    not_a_number = Refusal(f"{name} is not a number", unknown=True)
    other_type = Refusal(f"{name} has another type than the rule", unknown=True)
    types, holds, accepts = test.types, test.holds, test.accepts

    def check(attributes: Mapping[str, Any]) -> Refusal | None:
        value = attributes.get(name)
        if type(value) in types or accepts(value):
            if holds(value):
                return None
            return failed if is_present(value) else not_a_number
        return missing if value is None else other_type

    return check


def _exists(name: str, wanted: object, path: str) -> Check:
    """Return the check that an attribute is there, or is not; this one is never unknown."""
    if not isinstance(wanted, bool):
        raise InvalidValue(path, wanted, "true or false")
    failed = Refusal(f"{name} {'is missing' if wanted else 'exists'}")

    def check(attributes: Mapping[str, Any]) -> Refusal | None:
        return None if is_present(attributes.get(name)) is wanted else failed

    return check


def _all(checks: Sequence[Check]) -> Check:
    """Return the check that all hold."""
    return reduce(_both, checks) if checks else _everybody


def _everybody(attributes: Mapping[str, Any]) -> Refusal | None:
    """Refuse nobody."""
    return None


def _both(first: Check, second: Check) -> Check:
    """Return the check that two hold; a failed one outweighs an unknown one."""

    def check(attributes: Mapping[str, Any]) -> Refusal | None:
        refusal = first(attributes)
        if refusal is None:
            return second(attributes)
        if not refusal.unknown:
            return refusal
        other = second(attributes)
        return refusal if other is None or other.unknown else other

    return check


def _any(checks: Sequence[Check], path: str) -> Check:
    """Return the check that one holds; unknown when none does and one is unknown."""
    failed = Refusal(f"no rule of {path} holds")

    def check(attributes: Mapping[str, Any]) -> Refusal | None:
        result = failed
        for each in checks:
            refusal = each(attributes)
            if refusal is None:
                return None
            if refusal.unknown:
                result = refusal
        return result

    return check


def _not(inner: Check, path: str) -> Check:
    """Return the check that the inner one fails; unknown stays unknown."""
    failed = Refusal(f"{path} holds")

    def check(attributes: Mapping[str, Any]) -> Refusal | None:
        refusal = inner(attributes)
        if refusal is None:
            return failed
        return refusal if refusal.unknown else None

    return check
