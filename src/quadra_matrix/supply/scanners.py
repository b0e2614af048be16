"""Scanners that are programs: what to ask them, and what their answers mean.

Each function returns a ``Scan`` or raises ``ScannerFailed``. An answer of a form that is not known here fails too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply.finding import Check, Finding, Scan, Severity
from quadra_matrix.supply.pins import Pin
from quadra_matrix.supply.program import run_json

SECURITY = re.compile(r"S\d|invalid-syntax")
ZIZMOR = {"Informational": Severity.LOW, "Low": Severity.LOW, "Medium": Severity.MEDIUM, "High": Severity.HIGH}


def pip_audit(folder: Path, pins: Sequence[Pin]) -> Scan:
    """Ask pip-audit about ``pins``. What it skips it did not look at, whatever its exit code says."""
    with tempfile.TemporaryDirectory() as made:
        asked = Path(made) / "pins.txt"
        asked.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins))
        told = ["--strict", "--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps"]
        report = run_json("pip-audit", [*told, "--requirement", str(asked)], folder, {0, 1})
    return read_pip_audit(report, len(pins))


def read_pip_audit(report: Any, asked: int) -> Scan:
    """Return the scan in a report of pip-audit about ``asked`` packages."""
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    looked_at = len(packages) - len(skipped)
    findings = [
        Finding(
            Check.ADVISORIES,
            "pip-audit",
            flaw["id"],
            package["name"].lower(),
            f"{package['name']} {package['version']}: {flaw.get('description') or 'no description'}",
            aliases=tuple(flaw.get("aliases", ())),
            fixed_in=next(iter(flaw.get("fix_versions", ())), None),
        )
        for package in packages
        if "skip_reason" not in package
        for flaw in package["vulns"]
    ]
    trouble = None if looked_at == asked else f"it looked at {looked_at} of {asked} packages"
    return Scan(Check.ADVISORIES, "pip-audit", looked_at, tuple(findings), trouble)


def ruff(folder: Path, files: Sequence[str]) -> Scan:
    """Ask ruff's security rules about the Python files; its settings in the project hold.

    S101, any ``assert``, is left out: in tests and in narrowing types it is no flaw.
    """
    python = [file for file in files if file.endswith(".py")]
    if not python:
        return Scan(Check.CODE, "ruff")
    arguments = [
        "check",
        "--extend-select",
        "S",
        "--ignore",
        "S101",
        "--output-format",
        "json",
        "--no-cache",
        "--force-exclude",
        *python,
    ]
    found = [
        Finding(
            Check.CODE,
            "ruff",
            each["code"] or "syntax",
            str(Path(each["filename"]).relative_to(folder)),
            each["message"],
            Severity.MEDIUM,
            line=each["location"]["row"],
        )
        for each in run_json("ruff", arguments, folder, {0, 1})
        if each["code"] is None or SECURITY.match(each["code"])
    ]
    return Scan(Check.CODE, "ruff", len(python), tuple(found))


def detect_secrets(folder: Path, files: Sequence[str]) -> Scan:
    """Ask detect-secrets about the files."""
    if not files:
        return Scan(Check.SECRETS, "detect-secrets")
    # Verification sends what it finds to the service that the secret is for.
    report = run_json("detect-secrets", ["scan", "--no-verify", "--all-files", *files], folder, {0})
    found = [
        Finding(Check.SECRETS, "detect-secrets", each["type"], name, "this looks like a secret", Severity.HIGH,
                line=each["line_number"])
        for name, several in report["results"].items()
        for each in several
    ]  # fmt: skip
    return Scan(Check.SECRETS, "detect-secrets", len(files), tuple(found))


def zizmor(folder: Path, files: Sequence[str]) -> Scan:
    """Ask zizmor about workflows and Dependabot's settings; it sends nothing."""
    if not files:
        return Scan(Check.WORKFLOWS, "zizmor")
    arguments = ["--offline", "--persona", "pedantic", "--format", "json", "--no-progress", *files]
    found = [
        Finding(Check.WORKFLOWS, "zizmor", each["ident"], *_zizmor_place(folder, each), each["desc"],
                ZIZMOR.get(each["determinations"]["severity"], Severity.UNRATED), line=_zizmor_line(each))
        for each in run_json("zizmor", arguments, folder, {0, 10, 11, 12, 13, 14})
        if not each["ignored"]
    ]  # fmt: skip
    return Scan(Check.WORKFLOWS, "zizmor", len(files), tuple(found))


def _zizmor_place(folder: Path, each: Any) -> tuple[str]:
    key = next(iter(each["locations"][0]["symbolic"]["key"].values()))
    place = Path(key.get("verbatim_path") or key["given_path"])
    return (str(place.relative_to(folder)) if place.is_absolute() else str(place),)


def _zizmor_line(each: Any) -> int:
    return int(each["locations"][0]["concrete"]["location"]["start_point"]["row"]) + 1


def actionlint(folder: Path, files: Sequence[str]) -> Scan:
    """Ask actionlint about workflows."""
    workflows = [file for file in files if "/workflows/" in file]
    if not workflows:
        return Scan(Check.WORKFLOWS, "actionlint")
    report = run_json("actionlint", ["-format", "{{json .}}", *workflows], folder, {0, 1})
    found = [
        Finding(Check.WORKFLOWS, "actionlint", each["kind"], each["filepath"], each["message"], Severity.MEDIUM,
                line=each["line"])
        for each in report or ()
    ]  # fmt: skip
    return Scan(Check.WORKFLOWS, "actionlint", len(workflows), tuple(found))


def answer(check: Check, scanner: str, ask: Callable[[], Scan]) -> Scan:
    """Return what ``ask`` returns; a scanner that failed, or answers in another form, is a scan with its trouble."""
    try:
        return ask()
    except ScannerFailed as failed:
        return Scan(check, scanner, trouble=failed.reason)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as strange:
        return Scan(check, scanner, trouble=f"its answer is not understood: {type(strange).__name__}: {strange}")
