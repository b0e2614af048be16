"""Ask every scanner about a project."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply import licences, osv, scanners
from quadra_matrix.supply.finding import Check, Scan
from quadra_matrix.supply.pins import Pin, read
from quadra_matrix.supply.policy import Policy
from quadra_matrix.supply.program import find


@dataclass(frozen=True, slots=True)
class Project:
    """What an audit looks at."""

    folder: Path
    requirements: str = "requirements.txt"
    advisories: str | None = None
    """A folder or zip of OSV advisories, or the address of an OSV server; pip-audit is asked where it is None."""


def run(project: Project, policy: Policy, checks: frozenset[Check], now: float) -> Iterator[Scan]:
    """Yield the scan of every scanner, as each one ends. Nothing is raised: what went wrong is in the scan."""
    try:
        files = tracked(project.folder)
    except ScannerFailed as failed:
        yield from (Scan(check, failed.scanner, trouble=failed.reason) for check in sorted(checks))
        return
    for check, scanner, ask in _questions(project, policy, files, now):
        if check in checks:
            yield scanners.answer(check, scanner, ask)


def tracked(folder: Path) -> tuple[str, ...]:
    """Return the files that Git knows, relative to the folder, or that lie in it where there is no Git.

    Files that Git ignores are on one machine alone; they are never part of what is shipped.
    """
    if find("git") is None or not (folder / ".git").exists():
        found = [file for file in folder.rglob("*") if file.is_file() and ".venv" not in file.parts]
        return tuple(sorted(str(file.relative_to(folder)) for file in found))
    command = [find("git") or "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  no text of others
    if done.returncode:
        raise ScannerFailed("git", done.stderr.strip())
    return tuple(sorted(name for name in done.stdout.split("\0") if name and (folder / name).is_file()))


Question = tuple[Check, str, Callable[[], Scan]]


def _questions(project: Project, policy: Policy, files: tuple[str, ...], now: float) -> Iterator[Question]:
    folder = project.folder
    yield _advisories(project, policy, now)
    yield Check.CODE, "ruff", lambda: scanners.ruff(folder, files)
    yield Check.LICENCES, licences.NAME, lambda: licences.scan(pins(project), policy)
    searched = [file for file in files if not any(fnmatchcase(file, each) for each in policy.not_secret)]
    yield Check.SECRETS, "detect-secrets", lambda: scanners.detect_secrets(folder, searched)
    settings = [file for file in files if _is_workflow(file)]
    yield Check.WORKFLOWS, "zizmor", lambda: scanners.zizmor(folder, settings)
    if find("actionlint"):
        yield Check.WORKFLOWS, "actionlint", lambda: scanners.actionlint(folder, settings)


def _advisories(project: Project, policy: Policy, now: float) -> Question:
    source = project.advisories
    if source is None:
        return Check.ADVISORIES, "pip-audit", lambda: scanners.pip_audit(project.folder, pins(project))
    if source.startswith(("http://", "https://")):
        return Check.ADVISORIES, osv.NAME, lambda: osv.server(source, pins(project))
    oldest = policy.advisories_age
    return (
        Check.ADVISORIES,
        osv.NAME,
        lambda: osv.snapshot(Path(source), pins(project), now=now, oldest=oldest),
    )


def pins(project: Project) -> tuple[Pin, ...]:
    """Return what the project pins."""
    return read(project.folder / project.requirements)


def _is_workflow(file: str) -> bool:
    place = Path(file)
    return place.suffix in {".yml", ".yaml"} and (
        file.startswith(".github/workflows/") or file in {".github/dependabot.yml", ".github/dependabot.yaml"}
    )
