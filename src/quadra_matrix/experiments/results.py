"""Results as values: what was counted, what it means, and what is decided. JSON for machines, SVG for people."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quadra_matrix.experiments.definition import Role
from quadra_matrix.experiments.tally import Excluded
from quadra_matrix.stats.arms import Interval


class Verdict(enum.StrEnum):
    """What the experiment says."""

    WITHHELD = "withheld"
    """The users did not fall into the variants as designed: no number can be trusted."""
    HARMED = "harmed"
    """A guardrail is worse in some variant."""
    BETTER = "better"
    """A variant beats the control on the primary metric."""
    WORSE = "worse"
    """Every variant loses to the control."""
    NO_DIFFERENCE = "no difference"
    """The planned size is reached without a difference."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the variant to go on with where there is one, and why."""

    verdict: Verdict
    reason: str
    variant: str | None = None

    @property
    def ends(self) -> bool:
        """Whether the experiment has nothing more to find out."""
        return self.verdict not in {Verdict.UNDECIDED, Verdict.WITHHELD}


@dataclass(frozen=True, slots=True)
class MetricTotals:
    """Every tracked value of a metric in one variant, one for each event."""

    count: int
    total: float
    least: float
    greatest: float

    @property
    def mean(self) -> float:
        """The average value of an event."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What was counted in one variant."""

    name: str
    impressions: int
    """Exposures, repeated ones included."""
    users: int
    conversions: int
    """Conversions, repeated ones of a user included."""
    converters: int
    """Users who converted, and conversions without a user."""
    interval: Interval | None
    """Of the conversion rate, at the experiment's level, for one planned look."""
    custom_metrics: Mapping[str, MetricTotals]
    total_value: float = 0.0

    @property
    def conversion_rate(self) -> float | None:
        """Converters among the users; None without users."""
        return self.converters / self.users if self.users else None


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One variant against the control on one metric. The always-valid numbers may be read at any time."""

    variant: str
    metric: str
    role: Role
    difference: float | None
    lift: float | None
    z_score: float | None
    """Fixed-horizon, as are the next three: true for one look that was planned."""
    p_value: float | None
    p_value_adjusted: float | None
    """Corrected for several variants (Holm), or several secondary metrics (Benjamini-Hochberg)."""
    interval: Interval | None
    method: str
    always_valid_p_value: float | None
    always_valid_interval: Interval | None
    always_valid_ratio: Interval | None
    """Of the variant's rate over the control's."""
    e_value: float | None
    log_e: float | None
    harmed: bool = False
    """Whether a guardrail is worse by more than its margin, at every look's risk of alpha together."""
    reason: str | None = None
    """Why a number above is None."""


@dataclass(frozen=True, slots=True)
class SampleRatioResult:
    """Whether the users fell into the variants as designed, over all phases."""

    ok: bool
    p_value: float | None
    """Of the chi-square test of the latest phase, for one planned look."""
    always_valid_p_value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the experiment is: users counted, users it needs, and what it can find by now."""

    users: int
    planned_users: int | None
    needed_users: int | None
    """Users of all variants to confirm the difference seen so far with 80 % power; None where there is none."""
    detectable_difference: float | None
    """The smallest difference of the primary rate found with 80 % power at the present size."""


@dataclass(frozen=True, slots=True)
class Point:
    """The primary metric of one variant against the control at the end of one look."""

    variant: str
    at: float
    """Seconds since the epoch."""
    users: int
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Results:
    """Everything about an experiment at one moment."""

    experiment: str
    status: str
    version: int
    started_at: float | None
    """Seconds since the epoch."""
    analysed_at: float
    alpha: float
    control: str
    decision: Decision
    variants: tuple[VariantResult, ...]
    metrics: tuple[MetricResult, ...]
    sample_ratio: SampleRatioResult
    progress: Progress
    excluded: Excluded
    history: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON values; nothing in them is NaN or infinite."""
        primary = [metric for metric in self.metrics if metric.role is Role.PRIMARY]
        return {
            "experiment_name": self.experiment,
            "status": self.status,
            "version": self.version,
            "started_at": self.started_at,
            "analysed_at": self.analysed_at,
            "alpha": self.alpha,
            "control": self.control,
            "decision": asdict(self.decision),
            "variants": {variant.name: _variant_json(variant) for variant in self.variants},
            "statistical_significance": {metric.variant: _metric_json(metric) for metric in primary},
            "secondary_metrics": [_metric_json(each) for each in self.metrics if each.role is Role.SECONDARY],
            "guardrails": [_metric_json(each) for each in self.metrics if each.role is Role.GUARDRAIL],
            "sample_ratio": asdict(self.sample_ratio),
            "progress": asdict(self.progress),
            "excluded": asdict(self.excluded),
            "history": [asdict(point) for point in self.history],
        }

    def _repr_html_(self) -> str:
        """Show the charts in a notebook."""
        from quadra_matrix.experiments.charts import results_html

        return results_html(self)


def _variant_json(variant: VariantResult) -> dict[str, Any]:
    """Return one variant's counts."""
    return {
        "impressions": variant.impressions,
        "users": variant.users,
        "conversions": variant.conversions,
        "converters": variant.converters,
        "conversion_rate": variant.conversion_rate,
        "conversion_rate_interval": variant.interval and asdict(variant.interval),
        "total_value": variant.total_value,
        "value_per_user": variant.total_value / variant.users if variant.users else None,
        "custom_metrics": {
            name: {**asdict(totals), "mean": totals.mean} for name, totals in sorted(variant.custom_metrics.items())
        },
    }


def _metric_json(metric: MetricResult) -> dict[str, Any]:
    """Return one comparison; what holds only for a single planned look says so."""
    fixed = {"p_value", "p_value_adjusted", "z_score", "interval"}
    found = asdict(metric)
    return {**found, "fixed_horizon": sorted(fixed)}
