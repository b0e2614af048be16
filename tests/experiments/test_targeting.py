"""Targeting rules: what they mean, what they refuse, and that they never raise."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments.targeting import DEEPEST, compile_rules


class Plan(enum.StrEnum):
    PRO = "pro"


def reason(rules: dict[str, Any], **attributes: Any) -> str | None:
    refusal = compile_rules(rules)(attributes)
    return None if refusal is None else refusal.reason


PASSES: list[tuple[dict[str, Any], Any]] = [
    ({"x": "US"}, "US"),
    ({"x": {"eq": 3}}, 3.0),
    ({"x": {"eq": True}}, True),
    ({"x": {"eq": "pro"}}, Plan.PRO),
    ({"x": {"ne": "US"}}, "CA"),
    ({"x": {"in": ["US", "CA"]}}, "CA"),
    ({"x": {"in": [1, True]}}, True),
    ({"x": {"in": [1, True]}}, 1.0),
    ({"x": {"not_in": ["US", "CA"]}}, "DE"),
    ({"x": {"gt": 18}}, 18.5),
    ({"x": {"gte": 18}}, 18),
    ({"x": {"lt": "2025-06-01"}}, "2025-05-31"),
    ({"x": {"lte": 0}}, 0),
    ({"x": {"between": [1, 2]}}, 2),
    ({"x": {"between": ["a", "c"]}}, "b"),
    ({"x": {"exists": True}}, 0),
    ({"x": {"regex": r"^user-\d+$"}}, "user-12"),
    ({"x": {"contains": "beta"}}, "the beta one"),
    ({"x": {"contains": "beta"}}, ["alpha", "beta"]),
    ({"x": {"contains": 1}}, [0, 1]),
    ({"x": {"semver": ">=1.2.0 <2.0.0"}}, "1.10.0"),
    ({"x": {"semver": "1.0.0"}}, "v1.0.0+build.5"),
    ({"x": {"semver": ">1.0.0-alpha.9 <1.0.0"}}, "1.0.0-alpha.10"),
    ({"x": {"semver": ">1.0.0-1 <1.0.0-a.b"}}, "1.0.0-a"),
    ({"x": {"gt": 1, "lt": 3}}, 2),
    ({"and": [{"x": {"gt": 1}}, {"x": {"lt": 3}}]}, 2),
    ({"or": [{"x": {"gt": 5}}, {"x": {"lt": 3}}]}, 2),
    ({"not": {"x": {"gt": 5}}}, 2),
]


@pytest.mark.parametrize(("rules", "value"), PASSES, ids=str)
def test_holds(rules: dict[str, Any], value: Any) -> None:
    assert reason(rules, x=value) is None


FAILS: list[tuple[dict[str, Any], Any, str]] = [
    ({"x": "US"}, "CA", "x fails eq 'US'"),
    ({"x": {"ne": "US"}}, "US", "x fails ne 'US'"),
    ({"x": {"in": [1, 2]}}, 3, "x fails in"),
    ({"x": {"in": [True, 2]}}, 1, "x fails in"),
    ({"x": {"not_in": [1]}}, 1, "x fails not_in"),
    ({"x": {"gt": 18}}, 18, "x fails gt 18"),
    ({"x": {"between": [1, 2]}}, 2.1, "x fails between"),
    ({"x": {"exists": True}}, None, "x is missing"),
    ({"x": {"exists": False}}, 1, "x exists"),
    ({"x": {"regex": "a"}}, "a" * 257, "x fails regex"),
    ({"x": {"contains": 1}}, [True, "1"], "x fails contains"),
    ({"x": {"semver": ">=1.0.0"}}, "1.0", "x fails semver"),
    ({"x": {"semver": ">=1.0.0"}}, "1.0.0-rc.1", "x fails semver"),
    ({"x": {"semver": ">=1.0.0"}}, "9" * 200, "x fails semver"),
    ({"or": [{"x": 1}, {"x": 2}]}, 3, "no rule of targeting_rules.or holds"),
    ({"not": {"x": 3}}, 3, "targeting_rules.not holds"),
    ({"x": {"gt": 18}}, None, "x is missing"),
    ({"x": {"gt": 18}}, float("nan"), "x is not a number"),
    ({"x": {"ne": 18}}, float("nan"), "x is not a number"),
    ({"x": {"not_in": [18]}}, float("nan"), "x is not a number"),
    ({"x": {"gt": 18}}, "19", "x has another type than the rule"),
    ({"x": {"gt": 18}}, True, "x has another type than the rule"),
    ({"x": {"eq": True}}, 1, "x has another type than the rule"),
    ({"x": {"not_in": ["US"]}}, None, "x is missing"),
    ({"x": {"contains": 1}}, 1, "x has another type than the rule"),
]


@pytest.mark.parametrize(("rules", "value", "expected"), FAILS, ids=str)
def test_fails_with_a_reason(rules: dict[str, Any], value: Any, expected: str) -> None:
    assert str(reason(rules, x=value)).startswith(expected)


@pytest.mark.parametrize("value", [None, float("nan"), "text"], ids=str)
def test_unknown_refuses_also_under_not(value: Any) -> None:
    rules = {"not": {"x": {"gt": 18}}}

    assert reason(rules, x=value) is not None


def test_a_known_failure_outweighs_an_unknown_one() -> None:
    """(missing and false) is false, so its negation holds."""
    assert reason({"not": {"and": [{"missing": 1}, {"x": 1}]}}, x=2) is None


def test_one_that_holds_outweighs_unknown_ones() -> None:
    assert reason({"or": [{"missing": 1}, {"x": 1}]}, x=1) is None
    assert reason({"or": [{"missing": 1}, {"x": 1}]}, x=2) == "missing is missing"


def test_no_rules_mean_everybody() -> None:
    assert reason({}) is None


def nested(levels: int) -> dict[str, Any]:
    return {"x": 1} if not levels else {"not": nested(levels - 1)}


MALFORMED: list[tuple[Any, str]] = [
    ([], "targeting_rules"),
    ({"": 1}, "targeting_rules"),
    ({3: 1}, "targeting_rules"),
    ({"x": {}}, "targeting_rules.x"),
    ({"x": None}, "targeting_rules.x.eq"),
    ({"x": {"like": "a"}}, "targeting_rules.x.like"),
    ({"x": {"in": "US"}}, "targeting_rules.x.in"),
    ({"x": {"in": []}}, "targeting_rules.x.in"),
    ({"x": {"in": [[1]]}}, "targeting_rules.x.in"),
    ({"x": {"gt": True}}, "targeting_rules.x.gt"),
    ({"x": {"gt": float("nan")}}, "targeting_rules.x.gt"),
    ({"x": {"between": [2, 1]}}, "targeting_rules.x.between"),
    ({"x": {"between": [1, "2"]}}, "targeting_rules.x.between"),
    ({"x": {"between": [1]}}, "targeting_rules.x.between"),
    ({"x": {"exists": "yes"}}, "targeting_rules.x.exists"),
    ({"x": {"contains": [1]}}, "targeting_rules.x.contains"),
    ({"x": {"semver": 1}}, "targeting_rules.x.semver"),
    ({"x": {"semver": ">=1"}}, "targeting_rules.x.semver"),
    ({"x": {"semver": " "}}, "targeting_rules.x.semver"),
    ({"x": {"regex": 1}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "("}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "a" * 257}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "(a+)+$"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "(a|a)*$"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "a?" * 20 + "b"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": ".*.*.*"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "(a|a)" * 20}}, "targeting_rules.x.regex"),
    ({"x": {"regex": r"(a)\1"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "(?=a)"}}, "targeting_rules.x.regex"),
    ({"x": {"regex": "a{0,99999999999999}"}}, "targeting_rules.x.regex"),
    ({"and": {}}, "targeting_rules.and"),
    ({"or": []}, "targeting_rules.or"),
    ({"and": [{"x": {"zz": 1}}]}, "targeting_rules.and[0].x.zz"),
    ({"not": 3}, "targeting_rules.not"),
    (nested(DEEPEST + 1), "targeting_rules" + ".not" * (DEEPEST + 1)),
]


@pytest.mark.parametrize(("rules", "path"), MALFORMED, ids=lambda value: str(value)[:60])
def test_a_malformed_rule_is_refused_with_its_path(rules: Any, path: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        compile_rules(rules)

    assert refused.value.field == path


@pytest.mark.parametrize(
    "pattern",
    [
        "^Mozilla.*Firefox/",
        "[a-z]{2,8}(-[A-Z]{2})?",
        r"\d{3}",
        "a|b|c",
        "(?:x|y)?z",
        "[]*]+",
        "a{,3}?",
        "x{y}",
        r"\*\*\*",
    ],
)
def test_usual_patterns_are_admitted(pattern: str) -> None:
    compile_rules({"x": {"regex": pattern}})


@pytest.mark.parametrize(
    "pattern", [".*a.*", "a?a?a?a?a?a?a?a?b", "(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)$", "[a-z]{1,16}[a-z]{1,16}b"]
)
def test_an_admitted_pattern_ends_soon_on_the_worst_text(pattern: str) -> None:
    """A pattern that backtracks without bound would hang here."""
    assert reason({"x": {"regex": pattern}}, x="a" * 255 + "!") in (None, f"x fails regex {pattern!r}")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=2), scalars, max_size=2)


@given(st.sampled_from([rules for rules, _ in PASSES]), anything)
def test_no_attribute_ever_raises(rules: dict[str, Any], value: Any) -> None:
    reason(rules, x=value)


@given(st.dictionaries(st.sampled_from(["x", "and", "or", "not"]), anything, max_size=2), anything)
def test_rules_compile_or_are_refused(rules: dict[str, Any], value: Any) -> None:
    try:
        check = compile_rules(rules)
    except InvalidValue:
        return
    check({"x": value})
