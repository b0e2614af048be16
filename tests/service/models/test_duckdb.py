"""CSV and Parquet files give typed columns, or say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.duckdb import columns, summaries
from quadra_matrix.store.models import ColumnSummary, Kind

PEOPLE = b"""id,height,since,member,city,gone
1,1.5,2024-01-01,true,Oslo,
2,NA,2024-01-02,false,,
3,2,2024-01-02,,"Rome, old",
"""


def csv(folder: Path, content: bytes) -> Path:
    file = folder / "it's.csv"
    file.write_bytes(content)
    return file


def parquet(folder: Path, select: str) -> Path:
    file = folder / "file.parquet"
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
    return file


def test_types_of_a_csv_are_inferred(tmp_path: Path) -> None:
    rows, found = summaries(csv(tmp_path, PEOPLE), "csv")

    assert rows == 3
    assert found == (
        ColumnSummary("id", Kind.NUMBER, 0, 3),
        ColumnSummary("height", Kind.NUMBER, 1, 2),
        ColumnSummary("since", Kind.CATEGORY, 0, 2),
        ColumnSummary("member", Kind.FLAG, 1, 2),
        ColumnSummary("city", Kind.CATEGORY, 1, 2),
        ColumnSummary("gone", Kind.CATEGORY, 3, 0),
    )


def test_values_of_a_csv_are_loaded(tmp_path: Path) -> None:
    found = {column.name: column.values for column in columns(csv(tmp_path, PEOPLE), "csv")}

    assert np.array_equal(found["height"], [1.5, np.nan, 2.0], equal_nan=True)
    assert np.array_equal(found["member"], [1.0, 0.0, np.nan], equal_nan=True)
    assert found["city"].tolist() == ["Oslo", "", "Rome, old"]


def test_a_late_text_makes_a_column_of_texts(tmp_path: Path) -> None:
    content = b"a,b\n" + b"1,2\n" * 50_000 + b"1,late\n"

    _, found = summaries(csv(tmp_path, content), "csv")

    assert [column.kind for column in found] == [Kind.NUMBER, Kind.CATEGORY]


def test_types_of_a_parquet_file_are_kept(tmp_path: Path) -> None:
    file = parquet(
        tmp_path, "SELECT 1::TINYINT a, 1.25::DECIMAL(5,2) b, 'x' c, true d, DATE '2024-05-01' e, NULL::INT f"
    )

    found = columns(file, "parquet")

    assert [column.kind for column in found] == [
        Kind.NUMBER,
        Kind.NUMBER,
        Kind.CATEGORY,
        Kind.FLAG,
        Kind.CATEGORY,
        Kind.NUMBER,
    ]
    assert found[1].values.tolist() == [1.25]
    assert found[4].values.tolist() == ["2024-05-01"]


def test_nested_columns_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadDataset) as refused:
        summaries(parquet(tmp_path, "SELECT 1 a, [1, 2] b, {'x': 1} c"), "parquet")

    assert sorted(refused.value.columns) == ["b", "c"]


@pytest.mark.parametrize(
    "content",
    [b"a,b\n", b"\x00\x01\x02" * 50, b"a,b\n\xff\xfe,2\n", b'a,b\n1,2\n"3,4\n5,6\n', b"a,b\n1,2\n3\n4,5,6\n"],
    ids=["header only", "binary", "not UTF-8", "open quote", "ragged"],
)
def test_a_broken_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadDataset):
        summaries(csv(tmp_path, content), "csv")


def test_a_csv_that_calls_itself_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="not readable as parquet"):
        summaries(csv(tmp_path, PEOPLE), "parquet")


def test_a_name_cannot_leave_its_quotes(tmp_path: Path) -> None:
    file = csv(tmp_path, b'"a"") FROM x; --",b\n1,2\n3,4\n')

    assert [column.name for column in columns(file, "csv")] == ['a") FROM x; --', "b"]


def test_a_file_that_unfolds_too_far_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path, "SELECT 1 a, 2 b FROM range(10000001)")

    assert file.stat().st_size < 1_000_000
    with pytest.raises(BadDataset, match="more than the 20000000 cells"):
        columns(file, "parquet")
