"""What an experiment is: variants, rules, phases and metrics. Values only."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.errors import InvalidValue, require
from quadra_matrix.experiments.targeting import compile_rules

CONVERSION = "conversion"
"""The metric that every conversion counts towards: did the unit convert?"""
VALUE = "value"
"""The metric that holds the ``value`` of conversions."""

MOST_VARIANTS = 32
DAY = 86_400.0


class Status(enum.StrEnum):
    """Where an experiment is in its life."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"


class Role(enum.StrEnum):
    """What a metric is for: to decide, to inform, or to notice harm."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


class Kind(enum.StrEnum):
    """How a metric is counted per unit: did it happen, how much in sum, or one sum over another."""

    RATE = "rate"
    MEAN = "mean"
    RATIO = "ratio"


class AutoStop(enum.StrEnum):
    """What a decision or a harmed guardrail does: nothing, an announcement, or an announcement and the end."""

    OFF = "off"
    REPORT = "report"
    STOP = "stop"


def require_name(field_name: str, name: object) -> None:
    """Refuse names that are not text of 1 to 200 printable characters; a backslash would be escaped in the log."""
    fine = isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() and name.strip() == name
    rule = "1 to 200 printable characters, no backslash, without space around them"
    require(fine and "\\" not in str(name), field_name, name, rule)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm. The first variant of an experiment is its control."""

    name: str
    weight: float = 1.0
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name("variants.name", self.name)
        require(is_number(self.weight) and self.weight >= 0, "variants.weight", self.weight, "a number of 0 or more")
        require(isinstance(self.config, Mapping), "variants.config", self.config, "a mapping")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with fixed weights. New weights open a new phase, and analysis never mixes two."""

    number: int
    weights: tuple[float, ...]
    started_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared. ``conversion`` and ``value`` are built in; any other name is one of ``custom_metrics``."""

    name: str = CONVERSION
    kind: Kind = Kind.RATE
    role: Role = Role.PRIMARY
    higher_is_better: bool = True
    margin: float = 0.0
    """What a guardrail may lose, in the metric's own unit; it is harmed only beyond that."""
    denominator: str | None = None
    """The metric that a ratio divides by."""

    def __post_init__(self) -> None:
        require_name("metrics.name", self.name)
        require(is_number(self.margin) and self.margin >= 0, "metrics.margin", self.margin, "a number of 0 or more")
        harmless = self.margin == 0 or self.role is Role.GUARDRAIL
        require(harmless, "metrics.margin", self.margin, "0 unless the metric is a guardrail")
        needs = self.kind is Kind.RATIO
        rule = "the name of another metric for a ratio, and absent otherwise"
        require((self.denominator is not None) == needs, "metrics.denominator", self.denominator, rule)


@dataclass(frozen=True, slots=True)
class Share:
    """A named part of all units, from ``start`` to ``end`` (0 to 1). Parts of one name exclude each other."""

    name: str
    start: float
    end: float

    def __post_init__(self) -> None:
        require_name("share.name", self.name)
        ordered = is_number(self.start) and is_number(self.end) and 0 <= self.start < self.end <= 1
        require(ordered, "share", (self.start, self.end), "a range 0 <= start < end <= 1")

    def overlaps(self, other: Share) -> bool:
        """Tell whether a unit can be in both."""
        return self.name == other.name and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of an experiment. Every change makes the next version; none is edited."""

    name: str
    variants: tuple[Variant, ...]
    targeting_rules: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = (Metric(),)
    description: str = ""
    salt: str = ""
    coverage: float = 1.0
    """Share of each variant's range that is used, 0 to 1."""
    layer: Share | None = None
    holdout: Share | None = None
    """The units that are kept out."""
    forced: Mapping[str, str] = field(default_factory=dict)
    """Unit -> variant; forced units are served and never counted."""
    covariate: str | None = None
    """Attribute whose value at the first exposure sharpens means and ratios (CUPED)."""
    planned_users: int | None = None
    alpha: float = 0.05
    conversion_window: float | None = None
    """Seconds after the first exposure within which a conversion counts; None for any time."""
    look_every: float = DAY
    """Seconds between two looks of the sequential tests."""
    auto_stop: AutoStop = AutoStop.REPORT
    status: Status = Status.DRAFT
    phases: tuple[Phase, ...] = ()
    winner: str | None = None
    reason: str = ""
    """Why the experiment is in this status."""
    version: int = 1
    changed_at: float = 0.0
    """Seconds since the epoch."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        _check_variants(self)
        _check_metrics(self.metrics)
        _check_numbers(self)
        compile_rules(self.targeting_rules)
        names = {variant.name for variant in self.variants}
        for unit, variant in self.forced.items():
            require(variant in names, f"forced.{unit}", variant, f"one of {sorted(names)}")
        require(self.winner is None or self.winner in names, "winner", self.winner, f"one of {sorted(names)}")

    @property
    def phase(self) -> Phase | None:
        """The current phase; None before the start."""
        return self.phases[-1] if self.phases else None

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights that hold now."""
        return self.phases[-1].weights if self.phases else tuple(variant.weight for variant in self.variants)

    def variant(self, name: str) -> Variant:
        """Return a variant by name; raise ``InvalidValue`` for an unknown one."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise InvalidValue("variant_name", name, f"one of {[variant.name for variant in self.variants]}")


def _check_variants(definition: Definition) -> None:
    """Refuse too few, too many, repeated or weightless variants."""
    names = [variant.name for variant in definition.variants]
    require(2 <= len(names) <= MOST_VARIANTS, "variants", names, f"2 to {MOST_VARIANTS} variants")
    require(len(set(names)) == len(names), "variants", names, "variants with different names")
    require(sum(variant.weight for variant in definition.variants) > 0, "variants.weight", 0, "above 0 in sum")


def _check_metrics(metrics: Sequence[Metric]) -> None:
    """Refuse metrics without exactly one primary, or twice the same name."""
    names = [metric.name for metric in metrics]
    require(len(set(names)) == len(names), "metrics", names, "metrics with different names")
    primary = [metric.name for metric in metrics if metric.role is Role.PRIMARY]
    require(len(primary) == 1, "metrics", primary, "a list with exactly one primary metric")
    for metric in metrics:
        built_in = metric.name != CONVERSION or metric.kind is Kind.RATE
        require(built_in, "metrics.kind", str(metric.kind), "rate for the metric 'conversion'")


def _check_numbers(definition: Definition) -> None:
    """Refuse numbers outside their range."""
    require(is_number(definition.alpha) and 0 < definition.alpha < 0.5, "alpha", definition.alpha, "above 0, below 0.5")
    covered = is_number(definition.coverage) and 0 <= definition.coverage <= 1
    require(covered, "coverage", definition.coverage, "between 0 and 1")
    planned = definition.planned_users
    require(planned is None or planned >= 2, "planned_users", planned, "2 or more, or absent")
    window = definition.conversion_window
    require(window is None or (is_number(window) and window > 0), "conversion_window", window, "above 0 seconds")
    fine = is_number(definition.look_every) and definition.look_every >= 1
    require(fine, "look_every", definition.look_every, "1 second or more")
