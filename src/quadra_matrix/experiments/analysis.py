"""Count where the events are, then judge."""

from __future__ import annotations

from collections import defaultdict

from quadra_matrix.experiments.aggregate import Question, aggregate_sql, row, totals_sql
from quadra_matrix.experiments.definition import CONVERSION, Definition, Kind, Metric
from quadra_matrix.experiments.judgement import judge
from quadra_matrix.experiments.results import MetricTotals, Results
from quadra_matrix.experiments.tally import Tally
from quadra_matrix.experiments.warehouse import Warehouse


def analyse(definition: Definition, warehouse: Warehouse, now: float) -> Results:
    """Return the results of an experiment as of ``now``, from what the warehouse holds: one query for each metric."""
    metrics = {CONVERSION: Metric(), **{metric.name: metric for metric in definition.metrics}}
    tallies = {name: _tally(definition, metric, warehouse, now) for name, metric in metrics.items()}
    return judge(definition, tallies, _totals(definition, warehouse), now)


def _tally(definition: Definition, metric: Metric, warehouse: Warehouse, now: float) -> Tally:
    """Return one metric's counts."""
    question = Question(
        definition.name,
        metric.name,
        metric.kind,
        metric.denominator,
        definition.covariate is not None and metric.kind is Kind.MEAN,
        definition.look_every,
        definition.conversion_window,
    )
    sql = aggregate_sql(question, warehouse.relations, warehouse.dialect)
    return Tally(map(row, warehouse.rows(sql)), definition, now)


def _totals(definition: Definition, warehouse: Warehouse) -> dict[str, dict[str, MetricTotals]]:
    """Return every tracked value by metric and variant."""
    found: defaultdict[str, dict[str, MetricTotals]] = defaultdict(dict)
    for metric, variant, *numbers in warehouse.rows(totals_sql(definition.name, warehouse.relations)):
        count, total, least, greatest = map(float, numbers)
        found[str(metric)][str(variant)] = MetricTotals(int(count), total, least, greatest)
    return found
