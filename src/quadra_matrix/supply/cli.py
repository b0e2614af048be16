"""``quadra audit``: may this be shipped?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.supply import report
from quadra_matrix.supply.audit import Project, pins, run
from quadra_matrix.supply.finding import Check
from quadra_matrix.supply.policy import Policy
from quadra_matrix.supply.policyfile import read
from quadra_matrix.supply.sbom import sbom as bill_of_materials
from quadra_matrix.supply.verdict import Outcome, Verdict, judge
from quadra_matrix.terminal import Exit, json_option, print_json, print_table, remark

EXITS = {Outcome.CLEAN: Exit.OK, Outcome.FINDINGS: Exit.FAILED, Outcome.INCONCLUSIVE: Exit.UNDECIDED}
POLICY = "audit.toml"

_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--policy", "policy_file", type=_file, help=f"The policy; FOLDER/{POLICY} where there is one.")
@click.option("--advisories", help="A folder or zip of OSV advisories, or an OSV server; else pip-audit is asked.")
@click.option("--requirements", default="requirements.txt", show_default=True, help="The file in FOLDER that pins.")
@click.option("--only", multiple=True, type=click.Choice([each.value for each in Check]), help="Ask this check alone.")
@click.option("--sarif", type=_file, help="Write the findings as SARIF, for code scanning.")
@click.option("--markdown", type=_file, help="Append a summary in Markdown.")
@click.option("--sbom", type=_file, help="Write a CycloneDX bill of materials.")
@json_option
def audit(folder: Path, policy_file: Path | None, only: tuple[str, ...], as_json: bool, **files: Any) -> None:
    """Scan FOLDER and say whether it may be shipped.

    Exits with 0 if every check was answered and nothing was found, with 1 if something was found, and with 6 if a
    scanner crashed, skipped or looked at nothing: that is never clean.
    """
    folder = folder.resolve()
    policy = _policy(folder, policy_file)
    checks = frozenset(map(Check, only)) or frozenset(Check)
    if only:
        policy = replace(policy, required=checks)
    project = Project(folder, files["requirements"], files["advisories"])
    now = SYSTEM_CLOCK.now()
    verdict = judge(policy, run(project, policy, checks, now), now)
    if as_json:
        print_json(report.as_json(verdict))
    else:
        _show(verdict)
    _write(verdict, project, policy, files)
    raise SystemExit(int(EXITS[verdict.outcome]))


def _policy(folder: Path, named: Path | None) -> Policy:
    """Return the named policy, else the project's own, else the strict one."""
    if named is None and not (folder / POLICY).exists():
        remark(f"there is no {POLICY}: every finding fails")
        return Policy()
    return read(named or folder / POLICY)


def _write(verdict: Verdict, project: Project, policy: Policy, files: dict[str, Any]) -> None:
    if files["sarif"]:
        files["sarif"].write_text(json.dumps(report.as_sarif(verdict), indent=2) + "\n")
    if files["markdown"]:
        with files["markdown"].open("a") as summary:
            summary.write(report.as_markdown(verdict))
    if files["sbom"]:
        bill = bill_of_materials(project.folder.name, pins(project), policy)
        files["sbom"].write_text(json.dumps(bill, indent=2) + "\n")


def _show(verdict: Verdict) -> None:
    print_table(
        [
            {"check": each.check, "scanner": each.scanner, "looked at": each.looked_at, "found": len(each.findings)}
            for each in verdict.scans
        ],
        ("check", "scanner", "looked at", "found"),
    )
    rows = [
        {
            "severity": each.severity.name.lower(),
            "rule": each.rule,
            "where": report.place(each),
            "what": each.message[:80],
        }
        for each in verdict.blocking
    ]
    if rows:
        click.echo()
        print_table(rows, ("severity", "rule", "where", "what"))
    for doubt in verdict.doubts:
        remark(f"not answered: {doubt}")
    for waiver in verdict.expired:
        remark(f"a waiver is over: {waiver.rule} for {waiver.subject} ({waiver.reason})")
    for waiver in verdict.unused:
        remark(f"a waiver covers nothing: {waiver.rule} for {waiver.subject}")
    click.echo(
        f"{verdict.outcome}: {len(verdict.blocking)} fail, {len(verdict.waived)} waived, "
        f"{len(verdict.tolerated)} below the limits"
    )
