"""The table of API calls in docs/how-to/kubernetes.md: ``python -m tests.delivery.kubernetes.calls`` prints it."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.model import Kind, Phase
from quadra_matrix.delivery.place import Place, Platform, Split
from tests.delivery.kubernetes.conftest import set_up, weighing
from tests.delivery.kubernetes.rig import APP, K8S, PLAN, Rig, unseen

COLUMNS = ("by replicas", "by weights", "blue-green")


def calls(rig: Rig) -> Counter[tuple[str, str]]:
    """Return how often a rollout of version 2 asks for what."""
    place = Place(Platform.KUBERNETES, split=rig.split)
    rig.deploy(plan=replace(PLAN, place=place))
    if rig.kind is Kind.BLUE_GREEN:
        rig.site().order(lambda record: desk.promoted(record, "2"), lambda at: at.phase is Phase.LIVE, unseen)
    return Counter((one.verb, one.resource) for one in rig.fake.requests if "deployer" in one.user)


def table() -> str:
    """Return the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        canary = contextmanager(set_up)(path, K8S / "canary", f"{APP}-service", Kind.CANARY)
        weights = contextmanager(set_up)(path, K8S / "gateway", f"{APP}-stable", Kind.CANARY, Split.GATEWAY)
        colours = contextmanager(set_up)(path, K8S / "blue-green", f"{APP}-production", Kind.BLUE_GREEN)
        with canary as first:
            counted = [calls(first)]
        with weights as second:
            counted.append(calls(weighing(second)))
        with colours as third:
            counted.append(calls(third))
    lines = [f"| call | {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
    for verb, resource in sorted(set().union(*counted), key=lambda one: (one[1], one[0])):
        shown = " | ".join(str(one[verb, resource] or "-") for one in counted)
        lines.append(f"| {verb} {resource} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
