"""The aggregate: the same rows from every engine, and what it counts and leaves out."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments.aggregate import Dialect, Part, Question, Row, aggregate_sql, literal, row, totals_sql
from quadra_matrix.experiments.analysis import analyse
from quadra_matrix.experiments.definition import Definition, Kind, Phase, Status, Variant
from quadra_matrix.experiments.log import Conversion
from quadra_matrix.experiments.results import Verdict
from quadra_matrix.experiments.warehouse import DbApiWarehouse, IbisWarehouse, Warehouse
from tests.experiments.events import (
    Seen,
    convert,
    fill,
    in_duckdb_file,
    in_ibis,
    in_parquet,
    in_segments,
    in_sqlite,
)
from tests.services.postgres import Postgres, postgres_server

DAY = 86_400.0
Make = Callable[[Path, Sequence[Seen], Sequence[Conversion]], Warehouse]

EXPOSURES = [
    Seen(0.5 * DAY, "a", "control", covariate=2.0),
    Seen(1.5 * DAY, "a", "control", phase=2),
    Seen(0.6 * DAY, "b", "treatment", covariate=3.0),
    Seen(1.2 * DAY, "c", "treatment", phase=2, covariate=None),
    Seen(0.1 * DAY, "apart", "control"),
    Seen(0.2 * DAY, "apart", "treatment"),
]
CONVERSIONS = [
    convert(0.7 * DAY, "1", "a", 10.0),
    convert(0.7 * DAY, "1", "a", 10.0),  # the same event again
    convert(2.1 * DAY, "2", "a", 5.0),
    convert(0.55 * DAY, "3", "b", 7.0),  # before the exposure
    convert(9.0 * DAY, "4", "b", 7.0),
    convert(1.3 * DAY, "5", "stranger", 1.0),
    convert(1.3 * DAY, "6", "apart", 1.0),
    convert(1.3 * DAY, "7", None, 4.0, variant="control"),
    convert(0.8 * DAY, "8", "a", 3.0, metric="pages"),
    convert(1.8 * DAY, "9", "a", 4.0, metric="pages"),
]


def ask(warehouse: Warehouse, question: Question = Question("exp")) -> list[Row]:  # noqa: B008
    rows = warehouse.rows(aggregate_sql(question, warehouse.relations, warehouse.dialect))
    return sorted(map(row, rows), key=lambda each: astuple(each))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


def on_postgres(server: Postgres, name: str) -> Make:
    import psycopg

    address = server.create_database(name).replace("+psycopg", "")

    def make(folder: Path, exposures: Sequence[Seen], conversions: Sequence[Conversion]) -> Warehouse:
        with psycopg.connect(address) as connection, connection.cursor() as cursor:
            fill(cursor, "%s", exposures, conversions)
        return DbApiWarehouse(lambda: psycopg.connect(address), Dialect.POSTGRESQL)

    return make


QUESTIONS = [
    Question("exp"),
    Question("exp", covariate=True),
    Question("exp", window=7 * DAY),
    Question("exp", "value", Kind.MEAN, covariate=True),
    Question("exp", "pages", Kind.MEAN),
    Question("exp", "value", Kind.RATIO, "pages", look_every=3600.0),
    Question("other"),
]

EMBEDDED: list[Make] = [in_segments, in_parquet, in_duckdb_file, in_sqlite, in_ibis]


@pytest.mark.parametrize("make", EMBEDDED, ids=lambda make: make.__name__)
def test_every_embedded_engine_gives_the_same_rows(tmp_path: Path, make: Make) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "reference").mkdir()
    warehouse, reference = (
        make(tmp_path, EXPOSURES, CONVERSIONS),
        in_sqlite(tmp_path / "reference", EXPOSURES, CONVERSIONS),
    )

    for question in QUESTIONS:
        assert ask(warehouse, question) == ask(reference, question), question


@pytest.mark.slow
def test_postgresql_gives_the_same_rows(tmp_path: Path, postgres: Postgres) -> None:
    warehouse = on_postgres(postgres, "same_rows")(tmp_path, EXPOSURES, CONVERSIONS)
    reference = in_sqlite(tmp_path, EXPOSURES, CONVERSIONS)

    for question in QUESTIONS:
        assert ask(warehouse, question) == ask(reference, question), question
    totals = totals_sql("exp", warehouse.relations)
    assert sorted(warehouse.rows(totals)) == sorted(reference.rows(totals))


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = ask(in_sqlite(tmp_path, EXPOSURES, CONVERSIONS), Question("exp", window=7 * DAY))

    events = {part: sum(each.events for each in rows if each.part is part) for part in Part}
    assert (events[Part.EARLY], events[Part.LATE], events[Part.UNEXPOSED], events[Part.APART]) == (1, 1, 1, 1)
    assert events[Part.COUNTED] == 2  # the repeated event once
    assert sum(each.n for each in rows if each.part is Part.USERS) == 3
    assert [each.n for each in rows if each.part is Part.APART and not each.events] == [1]


def test_squares_are_those_known_at_each_look(tmp_path: Path) -> None:
    """A spends 10 on the first day and 5 on the third: 100 is known first, 15 * 15 in the end."""
    rows = ask(in_sqlite(tmp_path, EXPOSURES, CONVERSIONS), Question("exp", "value", Kind.MEAN))

    found = {each.at_look: (each.n, each.y, each.yy) for each in rows if each.part is Part.COUNTED and each.look == 0}
    assert found[0] == (1, 10.0, 100.0)
    assert found[2] == (0, 5.0, 125.0)


times = st.integers(0, 40).map(lambda tenth: tenth * DAY / 10)
users = st.sampled_from(["a", "b", "c", "d"])
exposures = st.builds(Seen, times, users, st.sampled_from(["control", "treatment"]))
conversions = st.builds(convert, times, st.sampled_from("123456"), users, st.integers(0, 9).map(float))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(exposures, max_size=12), st.lists(conversions, max_size=12))
def test_the_sums_are_those_of_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, seen: list[Seen], tracked: list[Conversion]
) -> None:
    window = 1.5 * DAY
    once = {}
    for one in sorted(tracked, key=lambda each: (each.at, each.value)):
        once.setdefault((one.unit, one.event_id), one)
    once = {  # a repeated id counts once: the first time, the least value
        key: min((each for each in tracked if (each.unit, each.event_id) == key), key=lambda each: each.value or 0.0)
        for key in once
    }
    firsts = {key: min(each.at for each in tracked if (each.unit, each.event_id) == key) for key in once}
    variants: defaultdict[str, set[str]] = defaultdict(set)
    for one in seen:
        variants[one.unit].add(one.variant)
    expected: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
    for unit, names in variants.items():
        if len(names) == 1:
            arm = expected[next(iter(names))]
            first = min(one.at for one in seen if one.unit == unit)
            values = [
                one.value or 0.0
                for key, one in once.items()
                if key[0] == unit and first <= firsts[key] < first + window
            ]
            arm[0] += 1
            arm[1] += bool(values)
            arm[2] += sum(values)
            arm[3] += sum(values) ** 2

    rows = ask(
        in_sqlite(tmp_path_factory.mktemp("plain"), seen, tracked), Question("exp", "value", Kind.MEAN, window=window)
    )

    found: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
    for each in rows:
        if each.part is Part.USERS:
            found[each.variant][0] += each.n
        if each.part is Part.COUNTED:
            arm = found[each.variant]
            arm[1], arm[2], arm[3] = arm[1] + each.n, arm[2] + each.y, arm[3] + each.yy
    assert found.keys() == expected.keys()
    assert all(
        math.isclose(a, b, abs_tol=1e-6) for name in found for a, b in zip(found[name], expected[name], strict=True)
    )


def test_an_empty_log_has_empty_results(tmp_path: Path) -> None:
    assert not [each for each in ask(in_segments(tmp_path, [], [])) if each.n]


def test_a_quote_in_a_name_stays_in_the_name(tmp_path: Path) -> None:
    warehouse = in_sqlite(tmp_path, [], [])

    assert literal("o'clock") == "'o''clock'"
    assert not [each for each in ask(warehouse, Question("x' or '1'='1")) if each.n]


def test_what_is_not_a_connection_of_ibis_is_refused() -> None:
    with pytest.raises(InvalidValue, match="connection of ibis"):
        IbisWarehouse(object())


def test_a_row_reads_what_the_engines_give() -> None:
    values: list[Any] = ["users", None, 1, 2, None, 3, 4, None, 0, 0, 0, 0, "1.5", 0, 0]

    assert row(values).x == 1.5
    assert row(values).variant == ""


def test_an_experiment_reads_its_looks_from_several_phases(tmp_path: Path) -> None:
    """Differences are taken within each phase; pooled, the changed split alone would look like an effect."""
    chance, exposures, conversions = random.Random(2), [], []
    for number in range(6000):
        late = number >= 3000
        treated = chance.random() < (0.9 if late else 0.1)
        converts = chance.random() < (0.25 if late else 0.05)
        exposures.append(Seen(DAY * (2 if late else 0), f"u{number}", "treatment" if treated else "control", 1 + late))
        if converts:
            conversions.append(convert(DAY * (2 if late else 0) + 1, f"c{number}", f"u{number}", phase=1 + late))
    definition = Definition(
        "exp",
        (Variant("control"), Variant("treatment")),
        status=Status.RUNNING,
        phases=(Phase(1, (0.9, 0.1), 0.0), Phase(2, (0.1, 0.9), DAY)),
    )

    results = analyse(definition, in_sqlite(tmp_path, exposures, conversions), 9 * DAY)

    pooled = [variant.conversion_rate or 0.0 for variant in results.variants]
    assert results.sample_ratio.ok
    assert pooled[1] > 1.5 * pooled[0]
    assert abs(results.metrics[0].z_score or 9) < 3
    assert results.decision.verdict is Verdict.UNDECIDED
    assert results.metrics[0].always_valid_ratio is None
