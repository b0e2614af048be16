"""The files are those of prometheus_client, lose no number, and fail no caller."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from quadra_matrix.telemetry.durations import Durations
from quadra_matrix.telemetry.shared import SMALLEST, Count, NumberFile, SharedSeries

ON_A_FULL_DISK = """
import logging, resource, sys
from pathlib import Path
from quadra_matrix.telemetry.shared import Count, SharedSeries

series = SharedSeries(Path(sys.argv[1]))
first = Count(series, ["first"])
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
for number in range(3000):
    Count(series, [f"series-{number:0100}"]).add()
first.add(2.0)
"""


@pytest.fixture
def series(tmp_path: Path) -> Iterator[SharedSeries]:
    opened = SharedSeries(tmp_path)
    yield opened
    opened.close()


def read(folder: Path, kind: str = "counter") -> dict[str, float]:
    """Return what prometheus_client finds in the file of the first process."""
    found = MmapedDict.read_all_values_from_file(str(folder / f"{kind}_0.db"))
    return {key: value for key, value, _, _ in found}


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), unique=True, max_size=50))
def test_the_reader_of_prometheus_client_finds_every_key(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("series")
    series = SharedSeries(folder)
    for number, key in enumerate(keys):
        Count(series, [key]).add(number)
    series.close()

    assert read(folder) == {key: float(number) for number, key in enumerate(keys)}


def test_a_file_that_prometheus_client_wrote_goes_on(tmp_path: Path) -> None:
    written = MmapedDict(str(tmp_path / "counter_0.db"))
    written.write_value("grüße", 40.0, 0.0)
    written.close()
    series = SharedSeries(tmp_path)

    Count(series, ["grüße"]).add(2.0)
    series.close()

    assert read(tmp_path) == {"grüße": 42.0}


def test_a_reader_sees_each_number_at_once(series: SharedSeries, tmp_path: Path) -> None:
    counted = Count(series, ["requests"])

    counted.add()

    assert read(tmp_path) == {"requests": 1.0}


def test_a_file_that_grew_is_still_the_one_that_older_rows_write(series: SharedSeries, tmp_path: Path) -> None:
    rows = [Count(series, [f"{number:0200}"]) for number in range(SMALLEST // 100)]

    for row in rows:
        row.add(3.0)

    assert (tmp_path / "counter_0.db").stat().st_size > SMALLEST
    assert set(read(tmp_path).values()) == {3.0}
    assert len(read(tmp_path)) == len(rows)


def test_threads_lose_nothing_of_what_changes_together(series: SharedSeries, tmp_path: Path) -> None:
    counted, timed = Count(series, ["n"]), Durations(series, ["sum", "below", "above"], [0.5])
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread: int) -> None:
        for _ in range(2000):
            counted.add()
            timed.observe(0.25 if thread % 2 else 1.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    sys.setswitchinterval(switch)

    assert read(tmp_path) == {"n": 16_000}
    assert read(tmp_path, "histogram") == {"sum": 10_000, "below": 8_000, "above": 8_000}


def test_what_comes_after_the_end_is_not_counted_and_breaks_nothing(tmp_path: Path) -> None:
    series = SharedSeries(tmp_path)
    counted, timed = Count(series, ["n"]), Durations(series, ["sum", "below", "above"], [0.5])
    counted.add()
    series.close()

    counted.add()
    timed.observe(1.0)
    Count(series, ["late"]).add()
    series.close()

    assert read(tmp_path) == {"n": 1.0}


def test_a_full_disk_costs_new_series_and_no_request(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", ON_A_FULL_DISK, tmp_path], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("new series are not counted") == 1
    assert read(tmp_path)["first"] == 2.0


def test_the_head_is_written_before_the_name_is_there(tmp_path: Path) -> None:
    file = NumberFile(tmp_path / "counter_0.db")
    file.close()

    assert struct.unpack_from("i", (tmp_path / "counter_0.db").read_bytes()) == (8,)
    assert list(tmp_path.iterdir()) == [tmp_path / "counter_0.db"]
