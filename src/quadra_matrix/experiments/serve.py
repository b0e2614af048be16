"""A definition compiled for serving: which variant a unit gets, why, and whether that counts. Pure."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

from quadra_matrix.experiments.assign import Placer, Split, gate, placer, split
from quadra_matrix.experiments.definition import Definition, Share, Status, Variant
from quadra_matrix.experiments.targeting import compile_rules


class Assignment(TypedDict):
    """What a unit gets. ``in_experiment`` is false where the unit is not counted, and ``reason`` says why."""

    experiment_name: str
    variant_name: str
    config: dict[str, Any]
    in_experiment: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What an exposure counts for: one variant in one phase of one experiment. Compared by identity, which is quick."""

    experiment: str
    phase: int
    variant: str


@dataclass(frozen=True, slots=True)
class Served:
    """The answer for a unit; ``cell`` is None where nothing is counted."""

    variant: Variant
    reason: str
    cell: Cell | None
    answer: Callable[[], Assignment]
    """Writes the answer as a new dictionary, which the caller may change."""


Rule = Callable[[str, Mapping[str, Any]], Served]
"""Decides for one unit and its attributes. Never raises; may be shared between threads."""

Kept = Mapping[bytes, str]
"""Place -> variant of units that were exposed in an earlier phase and must keep their variant."""


def compile_serving(definition: Definition, kept: Kept | None = None) -> Rule:
    """Return the rule that serves this version of an experiment."""
    control = definition.variants[0]
    rule = _by_status(definition, control, kept or {})
    forced = {unit: _served(definition, definition.variant(name), "forced") for unit, name in definition.forced.items()}
    if not forced or definition.status is Status.COMPLETED:
        return rule
    return lambda unit, attributes: forced.get(unit) or rule(unit, attributes)


def _by_status(definition: Definition, control: Variant, kept: Kept) -> Rule:
    """Return the rule for the status alone."""
    if definition.status is Status.RUNNING:
        return _gated(definition, _assigned(definition, kept))
    if definition.status is Status.COMPLETED and definition.winner is not None:
        return _targeted(definition, _served(definition, definition.variant(definition.winner), "completed"))
    fixed = _served(definition, control, str(definition.status))
    return lambda unit, attributes: fixed


def _targeted(definition: Definition, answer: Served) -> Rule:
    """Serve one answer to the units that the experiment was for, and the control to the others."""
    check, control = compile_rules(definition.targeting_rules), definition.variants[0]

    def rule(unit: str, attributes: Mapping[str, Any]) -> Served:
        refusal = check(attributes)
        return answer if refusal is None else _served(definition, control, refusal.reason)

    return rule


def _assigned(definition: Definition, kept: Kept) -> Rule:
    """Serve by rules, then by place."""
    check, control = compile_rules(definition.targeting_rules), definition.variants[0]
    place, edges = placer_of(definition), split(definition.weights, definition.coverage).edges
    phase = len(definition.phases)
    answers = [
        _served(definition, variant, "assigned", Cell(definition.name, phase, variant.name))
        for variant in definition.variants
    ]
    uncovered = _served(definition, control, "coverage")
    # By the number of edges passed, as Split.arm reads them: outside, in the first arm, behind it, and so on.
    slots = [uncovered, *(slot for answer in answers for slot in (answer, uncovered))]

    def rule(unit: str, attributes: Mapping[str, Any]) -> Served:
        refusal = check(attributes)
        if refusal is not None:
            return _served(definition, control, refusal.reason)
        return slots[bisect_right(edges, place(unit))]

    if not kept:
        return rule
    by_name = {answer.variant.name: answer for answer in answers}
    earlier = {where: by_name[name] for where, name in kept.items()}

    def sticky(unit: str, attributes: Mapping[str, Any]) -> Served:
        served = rule(unit, attributes)
        return earlier.get(place(unit), served) if served.cell is not None else served

    return sticky


def _gated(definition: Definition, inside: Rule) -> Rule:
    """Put the holdout and the layer before a rule; each places units by its own name, shared by no variant."""
    gates: list[tuple[Placer, Split, bool, Served]] = []
    control = definition.variants[0]
    if definition.holdout is not None:
        gates.append((*_share(definition.holdout, "holdout"), True, _served(definition, control, "holdout")))
    if definition.layer is not None:
        gates.append((*_share(definition.layer, "layer"), False, _served(definition, control, "layer")))
    if not gates:
        return inside

    def rule(unit: str, attributes: Mapping[str, Any]) -> Served:
        for place, part, keeps_out, refused in gates:
            if (part.arm(place(unit)) is not None) is keeps_out:
                return refused
        return inside(unit, attributes)

    return rule


def _share(share: Share, purpose: str) -> tuple[Placer, Split]:
    """Return how a share of the units is found."""
    return placer(purpose, share.name), gate(share.start, share.end)


def placer_of(definition: Definition) -> Placer:
    """Return the function that places the units of an experiment."""
    return placer("variant", definition.name, definition.salt)


def _served(definition: Definition, variant: Variant, reason: str, cell: Cell | None = None) -> Served:
    """Return an answer, with all that can be prepared before the request."""
    config = dict(variant.config)
    nested = any(isinstance(value, (Mapping, list, set)) for value in config.values())
    copied: Callable[[], dict[str, Any]] = partial(copy.deepcopy, config) if nested else config.copy
    template: Assignment = {
        "experiment_name": definition.name,
        "variant_name": variant.name,
        "config": config,
        "in_experiment": cell is not None,
        "reason": reason,
    }

    def answer() -> Assignment:
        fresh = template.copy()
        fresh["config"] = copied()
        return fresh

    return Served(variant, reason, cell, answer)
