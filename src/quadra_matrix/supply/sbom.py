"""What a project is made of, as a CycloneDX document."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from quadra_matrix.supply.licences import licence_of
from quadra_matrix.supply.pins import Pin
from quadra_matrix.supply.policy import Policy


def sbom(name: str, pins: Sequence[Pin], policy: Policy) -> dict[str, Any]:
    """Return a CycloneDX 1.6 document of the pins. It holds no time and no serial number: equal pins, equal bytes."""
    root = {"type": "application", "bom-ref": "project", "name": name}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [_component(pin, policy) for pin in pins],
        "dependencies": [
            {"ref": "project", "dependsOn": [_purl(pin) for pin in pins]},
            *({"ref": _purl(pin)} for pin in pins),
        ],
    }


def _component(pin: Pin, policy: Policy) -> dict[str, Any]:
    try:
        told = policy.stated.get(pin.name) or licence_of(metadata.distribution(pin.name).metadata)
    except metadata.PackageNotFoundError:
        told = None
    found = {"type": "library", "bom-ref": _purl(pin), "name": pin.name, "version": pin.version, "purl": _purl(pin)}
    return found if told is None else {**found, "licenses": [{"expression": told}]}


def _purl(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version.replace('+', '%2B')}"
