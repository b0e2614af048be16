"""The one aggregate that every result is computed from, as SQL: counts and sums per variant, phase and look. Pure.

It reads two relations with the columns that ``segments`` names. A user belongs to the phase, variant and look of the
first exposure; a user seen in two variants is counted apart. A conversion counts from the first exposure on, within
the window, and once for each event id. What is left out is counted by the reason.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.experiments.definition import CONVERSION, VALUE, Kind

MICRO = 1_000_000


class Part(enum.StrEnum):
    """What a row of the aggregate counts."""

    USERS = "users"
    """Users by variant, phase and the look of their first exposure."""
    COUNTED = "counted"
    """Users who converted, and their sums, by the look of exposure and the look of conversion."""
    ANONYMOUS = "anonymous"
    """Conversions without a unit, by the variant and the phase they name."""
    APART = "apart"
    """Users seen in two variants, or conversions of such users."""
    UNEXPOSED = "unexposed"
    """Conversions of units without an exposure."""
    EARLY = "early"
    """Conversions before the first exposure."""
    LATE = "late"
    """Conversions after the window."""


class Dialect(enum.StrEnum):
    """Whose SQL to write."""

    DUCKDB = "duckdb"
    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


@dataclass(frozen=True, slots=True)
class Question:
    """What to count: one metric of one experiment."""

    experiment: str
    metric: str = CONVERSION
    kind: Kind = Kind.RATE
    denominator: str | None = None
    covariate: bool = False
    look_every: float = 86_400.0
    """Seconds."""
    window: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Relations:
    """Where the events are: the names of two tables, or anything that can stand behind FROM."""

    exposures: str = "experiment_exposures"
    conversions: str = "experiment_conversions"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the aggregate; the sums are over users, of the metric y, its denominator d and the covariate x."""

    part: Part
    variant: str
    phase: int
    look: int
    """Number of the look since the epoch in which the users were first exposed."""
    at_look: int
    """Number of the look in which they converted."""
    n: int
    events: int
    y: float
    yy: float
    d: float
    dd: float
    yd: float
    x: float
    xx: float
    xy: float


def row(values: Sequence[object]) -> Row:
    """Return a row as the database gave it; absent values are 0."""
    texts = [str(value or "") for value in values[:2]]
    whole = [int(str(value or 0)) for value in values[2:7]]
    sums = [float(str(value or 0)) for value in values[7:]]
    return Row(Part(texts[0]), texts[1], *whole, *sums)


def aggregate_sql(question: Question, relations: Relations, dialect: Dialect) -> str:
    """Return the query whose rows are ``Row``, field by field."""
    look = int(question.look_every * MICRO)
    divide = "//" if dialect is Dialect.DUCKDB else "/"
    experiment = literal(question.experiment)
    names = [question.metric, *([question.denominator] if question.denominator else [])]
    wanted = ", ".join(sorted({literal(_event_of(name)) for name in names}))
    late = "" if question.window is None else f"when v.ts >= e.ts + {int(question.window * MICRO)} then '{Part.LATE}'"
    x = "covariate" if question.covariate else "0"
    return f"""
with e as materialized (
  select unit, min(variant) as variant, max(variant) as other, min(phase) as phase, min(ts) as ts, count(*) as seen,
    {"min(covariate)" if question.covariate else "0"} as covariate
  from {relations.exposures} where experiment = {experiment} group by unit
),
v as (
  select unit, event_id, min(ts) as ts, {_amount("y", question.metric)}, {_amount("d", question.denominator)}
  from {relations.conversions}
  where experiment = {experiment} and metric in ({wanted}) and unit is not null
  group by unit, event_id
),
j as (
  select v.unit, v.ts, v.y, v.d, e.variant, e.phase, e.ts {divide} {look} as look, v.ts {divide} {look} as at_look,
    e.covariate,
    case when e.unit is null then '{Part.UNEXPOSED}' when e.variant <> e.other then '{Part.APART}'
      when v.ts < e.ts then '{Part.EARLY}' {late} else '{Part.COUNTED}' end as fate
  from v left join e on e.unit = v.unit
),
{_CONVERTERS_ONCE if question.kind is Kind.RATE else _CONVERTERS_BY_LOOK}
select '{Part.USERS}' as part, variant, phase, ts {divide} {look} as look, 0 as at_look, count(*) as n,
  sum(seen) as events, 0 as y, 0 as yy, 0 as d, 0 as dd, 0 as yd, sum({x}) as x, sum({x} * {x}) as xx, 0 as xy
from e where variant = other group by 1, 2, 3, 4
union all
select '{Part.APART}', '', 0, 0, 0, count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0 from e where variant <> other
union all
select fate, variant, phase, look, at_look, sum(new), sum(events), sum(y), sum(yy), sum(d), sum(dd), sum(yd), 0, 0,
  sum(y * {x})
from c group by 1, 2, 3, 4, 5
union all
select '{Part.ANONYMOUS}', variant, phase, 0, ts {divide} {look}, count(*), count(*), sum(y), sum(y * y), sum(d),
  sum(d * d), sum(y * d), 0, 0, 0
from (
  select min(variant) as variant, min(phase) as phase, min(ts) as ts, {_amount("y", question.metric)},
    {_amount("d", question.denominator)}
  from {relations.conversions} where experiment = {experiment} and metric in ({wanted}) and unit is null
  group by event_id
) as nobody group by 1, 2, 3, 4, 5
"""


_CONVERTERS_ONCE = """c as (
  select fate, min(variant) as variant, min(phase) as phase, min(look) as look, min(at_look) as at_look,
    1 as new, count(*) as events, sum(y) as y, sum(y) * sum(y) as yy, sum(d) as d, sum(d) * sum(d) as dd,
    sum(y) * sum(d) as yd, min(covariate) as covariate
  from j group by unit, fate
)"""
"""One row for each converter: all a rate needs."""

_CONVERTERS_BY_LOOK = """p as (
  select unit, fate, at_look, min(variant) as variant, min(phase) as phase, min(look) as look, count(*) as events,
    sum(y) as y, sum(d) as d, min(covariate) as covariate
  from j group by unit, fate, at_look
),
t as (
  select p.*, sum(y) over w as ty, sum(d) over w as td, row_number() over w as place
  from p window w as (partition by unit, fate order by at_look)
),
c as (
  select fate, variant, phase, look, at_look, case when place = 1 then 1 else 0 end as new, events, y, d, covariate,
    y * (2 * ty - y) as yy, d * (2 * td - d) as dd, ty * td - (ty - y) * (td - d) as yd
  from t
)"""
"""One row for each converter and look, with what the look adds to the squares, so that the sums up to any look are
those that were seen then."""


def totals_sql(experiment: str, relations: Relations) -> str:
    """Return the query for every value that was tracked: metric, variant, count, sum, least and greatest."""
    return f"""
select metric, variant, count(*) as n, sum(value) as total, min(value) as least, max(value) as greatest from (
  select metric, min(variant) as variant, min(value) as value from {relations.conversions}
  where experiment = {literal(experiment)} and value is not null group by event_id, metric
) as each_event group by 1, 2
"""


def exposed_sql(experiment: str, before: int, relations: Relations) -> str:
    """Return the query for the units first exposed before a time (microseconds), and their variant."""
    return f"""
select unit, min(variant) as variant from {relations.exposures}
where experiment = {literal(experiment)} and ts < {before} group by unit having min(variant) = max(variant)
"""


def literal(text: str) -> str:
    """Return the text as an SQL string; names were checked to be printable, and a quote is doubled."""
    return "'" + text.replace("'", "''") + "'"


def _event_of(metric: str) -> str:
    """Return the name under which a metric's events are kept: a value stands on the line of its conversion."""
    return CONVERSION if metric == VALUE else metric


def _amount(name: str, metric: str | None) -> str:
    """Return what one event adds to a metric. The least is the only one, unless an id came twice."""
    if metric is None:
        return f"0 as {name}"
    amount = "1" if metric == CONVERSION else "coalesce(value, 0)"
    return f"min(case when metric = {literal(_event_of(metric))} then {amount} end) as {name}"
