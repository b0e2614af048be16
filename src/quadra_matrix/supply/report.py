"""A verdict as JSON, SARIF 2.1.0 and Markdown."""

from __future__ import annotations

from typing import Any

from quadra_matrix import __version__
from quadra_matrix.supply.finding import Finding, Severity
from quadra_matrix.supply.verdict import Verdict

LEVELS = {Severity.LOW: "note", Severity.MEDIUM: "warning"}
"""Severity -> level of SARIF; every other one is an error."""


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return everything the verdict holds."""
    return {
        "outcome": verdict.outcome.value,
        "doubts": list(verdict.doubts),
        "blocking": [_finding(each) for each in verdict.blocking],
        "waived": [
            {**_finding(each.finding), "reason": each.waiver.reason, "until": each.waiver.until}
            for each in verdict.waived
        ],
        "tolerated": [_finding(each) for each in verdict.tolerated],
        "expired_waivers": [{"rule": each.rule, "subject": each.subject} for each in verdict.expired],
        "unused_waivers": [{"rule": each.rule, "subject": each.subject} for each in verdict.unused],
        "scans": [
            {
                "check": each.check.value,
                "scanner": each.scanner,
                "looked_at": each.looked_at,
                "findings": len(each.findings),
                "doubt": each.doubt,
            }
            for each in verdict.scans
        ],
    }


def as_sarif(verdict: Verdict) -> dict[str, Any]:
    """Return a SARIF log. Waived findings are suppressed results; doubts make the run an unsuccessful one."""
    results = [_result(each) for each in (*verdict.blocking, *verdict.tolerated)]
    for each in verdict.waived:
        suppression = {"kind": "external", "status": "accepted", "justification": each.waiver.reason}
        results.append({**_result(each.finding), "suppressions": [suppression]})
    rules = sorted({each["ruleId"] for each in results})
    invocation = {
        "executionSuccessful": not verdict.doubts,
        "toolExecutionNotifications": [{"level": "error", "message": {"text": doubt}} for doubt in verdict.doubts],
    }
    driver = {"name": "quadra audit", "version": __version__, "rules": [{"id": rule} for rule in rules]}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "invocations": [invocation], "results": results}],
    }


def as_markdown(verdict: Verdict) -> str:
    """Return a summary for people, as on the page of a workflow."""
    lines = [
        f"## Audit: {verdict.outcome}",
        "",
        "| check | scanner | looked at | found | doubt |",
        "|---|---|--:|--:|---|",
    ]
    lines += [
        f"| {each.check} | {each.scanner} | {each.looked_at} | {len(each.findings)} | {_cell(each.doubt or '')} |"
        for each in verdict.scans
    ]
    if verdict.doubts:
        lines += ["", "Not answered:", "", *(f"- {_cell(doubt)}" for doubt in verdict.doubts)]
    if verdict.blocking:
        lines += ["", "| severity | rule | where | what |", "|---|---|---|---|"]
        lines += [
            f"| {each.severity.name.lower()} | {_cell(each.rule)} | {_cell(place(each))} | {_cell(each.message)} |"
            for each in verdict.blocking
        ]
    if verdict.expired:
        lines += ["", "Waivers that are over:", ""]
        lines += [f"- {_cell(each.rule)} for {_cell(each.subject)}: {_cell(each.reason)}" for each in verdict.expired]
    return "\n".join(lines) + "\n"


def place(finding: Finding) -> str:
    """Return the subject, with the line where it is a file."""
    return finding.subject if finding.line is None else f"{finding.subject}:{finding.line}"


def _finding(each: Finding) -> dict[str, Any]:
    return {
        "check": each.check.value,
        "scanner": each.scanner,
        "rule": each.rule,
        "aliases": list(each.aliases),
        "severity": each.severity.name.lower(),
        "subject": each.subject,
        "line": each.line,
        "message": each.message,
        "fixed_in": each.fixed_in,
    }


def _result(each: Finding) -> dict[str, Any]:
    """Return a result; a package has no file of its own, so it stands at the file that pins it."""
    file = "requirements.txt" if each.line is None else each.subject
    return {
        "ruleId": f"{each.scanner}/{each.rule}",
        "level": LEVELS.get(each.severity, "error"),
        "message": {"text": each.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": file},
                    "region": {"startLine": each.line or 1},
                }
            }
        ],
        "partialFingerprints": {"quadra/v1": f"{each.check}:{each.rule}:{each.subject}"},
    }


def _cell(text: str) -> str:
    """Return the first line of foreign text such that it breaks no table and makes no link, image or tag."""
    line = (text.strip().splitlines() or [""])[0][:300]
    return "".join(f"\\{each}" if each in "\\`*_[]|!<>" else each for each in line)
