"""Pins, licences and the reading of scanners' answers."""

from __future__ import annotations

from email.message import Message
from pathlib import Path

import pytest

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply.finding import Check, Scan
from quadra_matrix.supply.licences import allows, scan
from quadra_matrix.supply.pins import Pin, read
from quadra_matrix.supply.policy import Policy
from quadra_matrix.supply.program import run_json
from quadra_matrix.supply.scanners import answer, read_pip_audit


def requirements(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


def test_pins_are_read_with_extras_markers_hashes_and_comments(tmp_path: Path) -> None:
    text = """-e .
# by hand
Ruamel_Yaml[x]==1.0 ; python_version >= "3"
old==1 ; python_version < "3"
flask==3.1.3 \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via quadra-matrix
"""

    assert read(requirements(tmp_path, text)) == (Pin("flask", "3.1.3"), Pin("ruamel-yaml", "1.0"))


@pytest.mark.parametrize("line", ["flask", "flask>=3", "flask==3.*", "-r other.txt", "./wheel.whl"])
def test_a_line_that_pins_nothing_is_not_passed_over(tmp_path: Path, line: str) -> None:
    with pytest.raises(ScannerFailed, match="pins no version"):
        read(requirements(tmp_path, line))


def test_requirements_that_are_not_there_fail(tmp_path: Path) -> None:
    with pytest.raises(ScannerFailed):
        read(tmp_path / "requirements.txt")


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("mit", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND ISC", True),
        ("MIT OR GPL-3.0-only AND ISC", True),
        ("(MIT OR ISC) AND GPL-3.0-only", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ],
)
def test_an_expression_is_met_by_what_is_allowed(expression: str, allowed: bool) -> None:
    assert allows(expression, {"MIT", "ISC"}) is allowed


@pytest.mark.parametrize("broken", ["", "MIT OR", "(MIT", "MIT ISC", "MIT )"])
def test_what_is_no_expression_is_not_read_as_one(broken: str) -> None:
    with pytest.raises(ScannerFailed):
        allows(broken, {"MIT", "ISC"})


def test_a_licence_that_is_not_allowed_is_found_and_can_be_allowed() -> None:
    pins = [Pin("flask", "3")]

    (found,) = scan(pins, Policy(licences=frozenset({"MIT"}))).findings

    assert (found.subject, found.rule) == ("flask", "BSD-3-Clause")
    assert not scan(pins, Policy(licences=frozenset({"BSD-3-Clause"}))).findings


def test_a_stated_copyleft_licence_is_found() -> None:
    (found,) = scan([Pin("flask", "3")], Policy(stated={"flask": "AGPL-3.0-only"})).findings

    assert found.message == "AGPL-3.0-only is not allowed"


def test_a_package_that_is_not_installed_leaves_a_doubt() -> None:
    done = scan([Pin("no-such-package", "1")], Policy())

    assert done.doubt == "not installed: no-such-package"


def test_a_package_that_pip_audit_skipped_was_not_looked_at() -> None:
    report = {
        "dependencies": [{"name": "flask", "skip_reason": "not found"}, {"name": "a", "version": "1", "vulns": []}]
    }

    done = read_pip_audit(report, 2)

    assert (done.looked_at, done.doubt) == (1, "it looked at 1 of 2 packages")


def test_a_report_of_pip_audit_about_nothing_is_not_clean() -> None:
    assert read_pip_audit({"dependencies": []}, 7).doubt == "it looked at 0 of 7 packages"


def test_what_pip_audit_found_is_read() -> None:
    flaw = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": ["CVE-1"], "description": "it leaks"}
    (found,) = read_pip_audit({"dependencies": [{"name": "Flask", "version": "1", "vulns": [flaw]}]}, 1).findings

    assert (found.subject, found.rule, found.aliases, found.fixed_in) == ("flask", "PYSEC-1", ("CVE-1",), "2")


@pytest.mark.parametrize("form", [[], {}, {"dependencies": [{}]}, {"dependencies": None}])
def test_an_answer_of_another_form_leaves_a_doubt(form: object) -> None:
    done = answer(Check.ADVISORIES, "pip-audit", lambda: read_pip_audit(form, 1))

    assert done.doubt is not None
    assert "not understood" in done.doubt


def test_a_program_that_is_missing_crashes_or_is_silent_fails(tmp_path: Path) -> None:
    for name, arguments in [("no-such-scanner", []), ("python", ["-c", "exit(3)"]), ("python", ["-c", ""])]:
        with pytest.raises(ScannerFailed):
            run_json(name, arguments, tmp_path, {0})


def test_a_scan_that_looked_is_without_doubt() -> None:
    assert answer(Check.CODE, "ruff", lambda: Scan(Check.CODE, "ruff", 3)).doubt is None


def test_metadata_is_read_as_it_is_written() -> None:
    from quadra_matrix.supply.licences import licence_of

    told = Message()
    told["Classifier"] = "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"
    assert licence_of(told) == "GPL-3.0-only"  # type: ignore[arg-type]
