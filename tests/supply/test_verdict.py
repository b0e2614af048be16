"""The gate: what is clean, what fails, and what nobody can vouch for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.supply.finding import Check, Finding, Scan, Severity
from quadra_matrix.supply.policy import Policy, Waiver
from quadra_matrix.supply.verdict import Outcome, judge

NOW = 1_000_000.0
FLAW = Finding(Check.ADVISORIES, "osv", "GHSA-1", "flask", "it leaks", Severity.HIGH, aliases=("CVE-1",))
ONLY_ADVISORIES = Policy(required=frozenset({Check.ADVISORIES}))


def waiver(**changes: object) -> Waiver:
    whole: dict[str, object] = {"rule": "GHSA-1", "subject": "flask", "reason": "not reachable", "until": NOW + 1}
    return Waiver(**{**whole, **changes})  # type: ignore[arg-type]


def scan(*findings: Finding, looked_at: int = 3, trouble: str | None = None) -> Scan:
    return Scan(Check.ADVISORIES, "osv", looked_at, findings, trouble)


def test_a_scan_that_looked_and_found_nothing_is_clean() -> None:
    assert judge(ONLY_ADVISORIES, [scan()], NOW).outcome is Outcome.CLEAN


def test_a_finding_fails() -> None:
    verdict = judge(ONLY_ADVISORIES, [scan(FLAW)], NOW)

    assert (verdict.outcome, verdict.blocking) == (Outcome.FINDINGS, (FLAW,))


def test_a_required_check_that_no_scanner_ran_is_inconclusive() -> None:
    verdict = judge(Policy(), [scan()], NOW)

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "secrets: no scanner ran" in verdict.doubts


@pytest.mark.parametrize("doubtful", [scan(looked_at=0), scan(trouble="3 packages were skipped")])
def test_a_scan_that_looked_at_nothing_or_skipped_is_inconclusive(doubtful: Scan) -> None:
    assert judge(ONLY_ADVISORIES, [doubtful], NOW).outcome is Outcome.INCONCLUSIVE


def test_a_second_scanner_does_not_cover_for_one_that_crashed() -> None:
    crashed = replace(scan(trouble="it ended with 2"), scanner="pip-audit")

    assert judge(ONLY_ADVISORIES, [scan(), crashed], NOW).outcome is Outcome.INCONCLUSIVE


def test_a_finding_outranks_a_doubt_and_both_are_told() -> None:
    verdict = judge(ONLY_ADVISORIES, [scan(FLAW, trouble="one was skipped")], NOW)

    assert verdict.outcome is Outcome.FINDINGS
    assert verdict.doubts == ("advisories: osv: one was skipped",)


@pytest.mark.parametrize("rule", ["GHSA-1", "CVE-1"])
def test_a_waiver_accepts_a_finding_under_any_of_its_names(rule: str) -> None:
    verdict = judge(replace(ONLY_ADVISORIES, waivers=(waiver(rule=rule),)), [scan(FLAW)], NOW)

    assert (verdict.outcome, len(verdict.waived), verdict.unused) == (Outcome.CLEAN, 1, ())


@pytest.mark.parametrize("other", [{"rule": "GHSA-2"}, {"subject": "flask-cors"}])
def test_a_waiver_of_something_else_accepts_nothing(other: dict[str, str]) -> None:
    verdict = judge(replace(ONLY_ADVISORIES, waivers=(waiver(**other),)), [scan(FLAW)], NOW)

    assert verdict.outcome is Outcome.FINDINGS
    assert verdict.unused == (waiver(**other),)


def test_a_waiver_ends_at_its_time_and_then_fails_by_itself() -> None:
    policy = replace(ONLY_ADVISORIES, waivers=(waiver(until=NOW),))

    assert judge(policy, [scan()], NOW - 1).outcome is Outcome.CLEAN
    assert judge(policy, [scan()], NOW).outcome is Outcome.FINDINGS
    assert judge(policy, [scan(FLAW)], NOW).blocking == (FLAW,)


def test_a_finding_below_the_limit_is_told_and_does_not_fail() -> None:
    policy = replace(ONLY_ADVISORIES, fail_at={Check.ADVISORIES: Severity.CRITICAL})

    verdict = judge(policy, [scan(FLAW)], NOW)

    assert (verdict.outcome, verdict.tolerated) == (Outcome.CLEAN, (FLAW,))


def test_what_nobody_rated_is_below_no_limit() -> None:
    policy = replace(ONLY_ADVISORIES, fail_at={Check.ADVISORIES: Severity.CRITICAL})

    assert judge(policy, [scan(replace(FLAW, severity=Severity.UNRATED))], NOW).outcome is Outcome.FINDINGS


@pytest.mark.parametrize("emptied", [{"rule": "*"}, {"subject": " "}, {"reason": ""}])
def test_a_waiver_says_what_and_why(emptied: dict[str, str]) -> None:
    with pytest.raises(InvalidValue):
        waiver(**emptied)


@pytest.mark.parametrize("off", [{"required": frozenset()}, {"advisories_age": 0.0}])
def test_a_policy_cannot_switch_the_gate_off(off: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        Policy(**off)  # type: ignore[arg-type]


findings = st.builds(
    Finding,
    check=st.sampled_from(Check),
    scanner=st.just("any"),
    rule=st.sampled_from(["A", "B"]),
    subject=st.sampled_from(["x", "y"]),
    message=st.just(""),
    severity=st.sampled_from(Severity),
)
scans = st.lists(
    st.builds(
        Scan,
        check=st.sampled_from(Check),
        scanner=st.just("any"),
        looked_at=st.integers(0, 3),
        findings=st.lists(findings, max_size=3).map(tuple),
        trouble=st.none() | st.just("it crashed"),
    ),
    max_size=8,
)


@given(scans)
def test_clean_means_every_check_was_answered_without_doubt(done: list[Scan]) -> None:
    verdict = judge(Policy(), done, NOW)

    if verdict.outcome is Outcome.CLEAN:
        assert {each.check for each in done} == set(Check)
        assert not any(each.findings or each.trouble or not each.looked_at for each in done)


@given(scans, st.lists(st.builds(waiver, rule=st.sampled_from(["A", "B"]), subject=st.just("*")), max_size=2))
def test_every_finding_is_told_exactly_once(done: list[Scan], waivers: list[Waiver]) -> None:
    verdict = judge(Policy(waivers=tuple(waivers)), done, NOW)

    told = [*verdict.blocking, *verdict.tolerated, *(each.finding for each in verdict.waived)]
    assert len(told) == sum(len(each.findings) for each in done)
