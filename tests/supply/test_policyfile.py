"""Policies as people write them: what is misspelt is refused, never ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra_matrix.errors import PolicyUnreadable
from quadra_matrix.supply.finding import Check, Severity
from quadra_matrix.supply.policy import PERMISSIVE, Policy
from quadra_matrix.supply.policyfile import read

WHOLE = """
required = ["advisories", "licences"]
advisories_age = 2
not_secret = ["tests/*"]
fail_at = { advisories = "high" }

[licences]
allowed = ["MIT"]
stated = { Odd = "MIT" }

[[waivers]]
rule = "GHSA-1"
subject = "flask"
reason = "not reachable from our routes"
until = 1970-01-02
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_a_policy_says_limits_licences_and_waivers(tmp_path: Path) -> None:
    policy = read(written(tmp_path, WHOLE))

    assert policy.required == {Check.ADVISORIES, Check.LICENCES}
    assert policy.fail_at == {Check.ADVISORIES: Severity.HIGH}
    assert (policy.licences, policy.stated) == ({"MIT"}, {"odd": "MIT"})
    assert (policy.advisories_age, policy.not_secret) == (2, ("tests/*",))


def test_a_waiver_holds_through_its_last_day(tmp_path: Path) -> None:
    (waiver,) = read(written(tmp_path, WHOLE)).waivers

    assert waiver.until == 2 * 86400


def test_an_empty_policy_is_the_strict_one(tmp_path: Path) -> None:
    assert read(written(tmp_path, "")) == Policy(licences=PERMISSIVE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fail_att = {}", "fail_att"),
        ("fail_at = { advisories = 'severe' }", "low, medium, high, critical"),
        ("fail_at = { advisories = 'unrated' }", "low, medium, high, critical"),
        ("fail_at = { rumours = 'low' }", "rumours"),
        ("fail_at = 3", "a table"),
        ("required = []", "at least one"),
        ("required = 'secrets'", "a list"),
        ("licences = { alowed = [] }", "alowed"),
        (WHOLE.replace("1970-01-02", "'soon'"), "a date"),
        (WHOLE.replace("until = 1970-01-02", ""), "a date"),
        (WHOLE.replace("until =", "untill ="), "untill"),
        ("required = [", "policy.toml"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PolicyUnreadable, match=said):
        read(written(tmp_path, text))


def test_a_policy_that_is_not_there_is_not_the_default(tmp_path: Path) -> None:
    with pytest.raises(PolicyUnreadable):
        read(tmp_path / "policy.toml")
