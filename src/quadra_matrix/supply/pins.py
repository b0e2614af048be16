"""The packages that a requirements file pins for this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from quadra_matrix.errors import ScannerFailed


@dataclass(frozen=True, slots=True)
class Pin:
    """One package at one version."""

    name: str
    """Normalised, as registries compare it."""
    version: str


def read(path: Path) -> tuple[Pin, ...]:
    """Return the pins of ``path`` whose markers hold here; ``ScannerFailed`` where a line pins nothing.

    A line that is not understood could hide a package, so none is passed over but ``-e .``, the project itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as failed:
        raise ScannerFailed(path.name, f"it cannot be read: {failed}") from failed
    found = {pin for line in _lines(text) for pin in _pin(path.name, line)}
    return tuple(sorted(found, key=lambda pin: (pin.name, pin.version)))


def _lines(text: str) -> Iterator[str]:
    """Yield each requirement without comment, hashes and line breaks."""
    for line in text.replace("\\\n", " ").splitlines():
        kept = line.split(" #")[0].split(" --hash=")[0].strip()
        if kept and not kept.startswith("#") and kept not in {"-e .", "."}:
            yield kept


def _pin(place: str, line: str) -> Iterator[Pin]:
    try:
        wanted = Requirement(line)
    except InvalidRequirement as refused:
        raise ScannerFailed(place, f"{line!r} pins no version") from refused
    exact = [each.version for each in wanted.specifier if each.operator in {"==", "==="}]
    if len(exact) != 1 or exact[0].endswith(".*"):
        raise ScannerFailed(place, f"{line!r} pins no version")
    if wanted.marker is None or wanted.marker.evaluate():
        yield Pin(canonicalize_name(wanted.name), exact[0])
