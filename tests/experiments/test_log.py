"""The event log: durable groups, crashes, a full disk, forks, many processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quadra_matrix.errors import EventsNotDurable
from quadra_matrix.events.experiments import ExperimentLogRecovered, ExperimentLogStalled
from quadra_matrix.experiments.log import Batch, Conversion, EventLog
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.serve import Cell
from quadra_matrix.experiments.warehouse import DuckDBWarehouse
from quadra_matrix.testing import RecordingHook
from tests.services.process import wait_until

CELL = Cell("exp", 1, "control")


def conversion(event_id: str, unit: str | None = "u", value: float | None = 1.5) -> Conversion:
    return Conversion(1_700_000_000.0, event_id, "exp", 1, "control", unit, "conversion", value)


def units(folder: Path) -> list[str]:
    warehouse = DuckDBWarehouse.of_log(folder)
    return [
        str(row[0]) for row in warehouse.rows(f"select unit from {warehouse.relations.exposures} order by ts, unit")
    ]


class Memory:
    """A sink that keeps batches, and fails while told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failing: str | None = None
        self.gate = threading.Event()
        self.gate.set()

    def write(self, batch: Batch) -> None:
        self.gate.wait(30)
        if self.failing:
            raise OSError(28, self.failing)
        self.batches.append(batch)

    def close(self) -> None:
        pass

    @property
    def units(self) -> list[str]:
        return [unit for batch in self.batches for _, _, unit, _ in batch.exposures]


def test_flush_returns_when_events_are_on_disk(tmp_path: Path) -> None:
    log = EventLog(SegmentFolder(tmp_path))

    log.expose((1.0, CELL, "a", None))
    log.expose((2.0, CELL, "b", 0.5))
    log.flush()

    assert units(tmp_path) == ["a", "b"]
    log.close()


def test_a_flush_with_nothing_to_write_returns_at_once() -> None:
    EventLog(Memory()).flush(0)


@pytest.mark.parametrize(
    "unit", ["a\tb", "a\nb", "a\\tb", "a\rb", "a\0b", "\ud800", "ü\ud8ffx", "日本", '"q"', "'", "#"]
)
def test_any_unit_survives_the_file(tmp_path: Path, unit: str) -> None:
    log = EventLog(SegmentFolder(tmp_path))

    log.expose((1.0, CELL, unit, None))
    log.convert([conversion("1", unit)])
    log.close()

    warehouse = DuckDBWarehouse.of_log(tmp_path)
    kept = warehouse.rows(f"select unit from {warehouse.relations.conversions}")[0][0]
    assert units(tmp_path) == [unit]
    assert kept == unit


def test_a_torn_last_line_is_dropped_and_never_written_behind(tmp_path: Path) -> None:
    log = EventLog(SegmentFolder(tmp_path))
    log.expose((1.0, CELL, "whole", None))
    log.close()
    segment = next((tmp_path / "exposures").iterdir())
    line = segment.read_bytes()

    for cut in range(1, len(line) - 1):  # only the end of the line is missing in the last: a whole event
        segment.write_bytes(line + line.replace(b"whole", b"torn!")[:cut])
        assert units(tmp_path) == ["whole"], cut
    log.expose((2.0, CELL, "after", None))
    log.close()

    assert units(tmp_path) == ["whole", "after"]


def test_zeroes_that_a_crash_left_are_not_an_event(tmp_path: Path) -> None:
    log = EventLog(SegmentFolder(tmp_path))
    log.expose((1.0, CELL, "whole", None))
    log.close()
    segment = next((tmp_path / "exposures").iterdir())

    segment.write_bytes(segment.read_bytes() + b"\0" * 4096)

    assert units(tmp_path) == ["whole"]


def test_full_segments_are_followed_by_new_ones(tmp_path: Path) -> None:
    sink = SegmentFolder(tmp_path, segment_bytes=100)

    for number in range(10):
        sink.write(Batch([(float(number), CELL, f"u{number}", None)], [conversion(str(number))]))
    sink.close()

    assert len(list((tmp_path / "exposures").iterdir())) > 2
    assert units(tmp_path) == [f"u{number}" for number in range(10)]


def test_a_stalled_sink_neither_blocks_nor_loses(caplog: pytest.LogCaptureFixture) -> None:
    sink, hook = Memory(), RecordingHook()
    log = EventLog(sink, hook=hook, retry_every=0.01)
    sink.failing = "No space left on device"

    log.expose((1.0, CELL, "first", None))
    with caplog.at_level(logging.WARNING), pytest.raises(EventsNotDurable, match="No space left"):
        log.flush()
    log.expose((2.0, CELL, "second", None))
    stalled = log.stalled
    sink.failing = None
    wait_until(lambda: len(hook.events) == 2, "the log to recover")

    assert "No space left" in stalled
    assert not log.stalled
    log.flush()
    assert sink.units == ["first", "second"]
    assert [type(event) for event in hook.events] == [ExperimentLogStalled, ExperimentLogRecovered]
    assert "wait in memory" in caplog.text
    log.close()


def test_a_full_memory_drops_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    sink, hook = Memory(), RecordingHook()
    log = EventLog(sink, hook=hook, most_waiting=3, retry_every=0.01)
    sink.gate.clear()

    for number in range(20):
        log.expose((1.0, CELL, str(number), None))
        log.convert([conversion(str(number))])
    dropped, waiting = log.dropped, log.waiting
    sink.gate.set()
    log.close()

    assert dropped > 0
    assert waiting <= 6
    assert len(sink.units) <= 6
    assert "are dropped" in caplog.text


def test_callers_that_wait_together_share_a_group() -> None:
    sink = Memory()
    log = EventLog(sink)
    sink.gate.clear()

    def request(number: int) -> None:
        log.expose((1.0, CELL, str(number), None))
        log.flush()

    threads = [threading.Thread(target=request, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    sink.gate.set()
    for thread in threads:
        thread.join(30)

    assert sorted(map(int, sink.units)) == list(range(20))
    assert len(sink.batches) < 20
    log.close()


def test_a_flush_that_takes_too_long_says_so() -> None:
    sink = Memory()
    log = EventLog(sink)
    sink.gate.clear()
    log.expose((1.0, CELL, "slow", None))

    with pytest.raises(EventsNotDurable, match="no answer within"):
        log.flush(0.01)

    sink.gate.set()
    log.close()


def test_a_bug_in_the_hook_does_not_end_writing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("listener bug")

    sink = Memory()
    log = EventLog(sink, hook=broken, retry_every=0.01)
    sink.failing = "gone"
    log.expose((1.0, CELL, "kept", None))
    with pytest.raises(EventsNotDurable):
        log.flush()
    sink.failing = None

    wait_until(lambda: sink.units == ["kept"], "the event to be written")
    assert "listener bug" in caplog.text
    log.close()


def test_a_closed_log_opens_again() -> None:
    sink = Memory()
    log = EventLog(sink)
    for name in ("one", "two"):
        log.expose((1.0, CELL, name, None))
        log.close()

    assert sink.units == ["one", "two"]


def test_a_forked_child_writes_its_own_events_and_not_its_parents(tmp_path: Path) -> None:
    script = f"""
import os, sys
from pathlib import Path
from quadra_matrix.experiments.log import EventLog
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.serve import Cell
cell, log = Cell("exp", 1, "control"), EventLog(SegmentFolder(Path({str(tmp_path)!r})))
log.expose((1.0, cell, "before", None)); log.flush()
log.expose((2.0, cell, "parent", None))
child = os.fork()
if not child:
    log.expose((3.0, cell, "child", None)); log.close(); os._exit(0)
os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)  # and the end of the process flushes

    assert units(tmp_path) == ["before", "parent", "child"]


def test_a_killed_process_leaves_what_it_flushed(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from quadra_matrix.experiments.log import EventLog
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.serve import Cell
log = EventLog(SegmentFolder(Path({str(tmp_path)!r})))
for number in range(1000):
    log.expose((float(number), Cell("exp", 1, "control"), f"u{{number:04}}", None))
log.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    assert units(tmp_path) == [f"u{number:04}" for number in range(1000)]


def test_a_file_that_may_not_grow_keeps_whole_groups(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a full disk: a write comes back short, then fails."""
    script = f"""
import resource, signal, sys
from pathlib import Path
from quadra_matrix.errors import EventsNotDurable
from quadra_matrix.experiments.log import EventLog
from quadra_matrix.experiments.segments import SegmentFolder
from quadra_matrix.experiments.serve import Cell
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = EventLog(SegmentFolder(Path({str(tmp_path)!r})), retry_every=0.01)
cell = Cell("exp", 1, "control")
log.expose((1.0, cell, "first", None)); log.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
log.expose((2.0, cell, "second", None))
try:
    log.flush()
except EventsNotDurable as stalled:
    print(stalled)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.close()
"""
    ended = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)

    assert "File too large" in ended.stdout
    assert units(tmp_path) == ["first", "second"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_a_log_holds_one_file_of_each_kind(tmp_path: Path) -> None:
    log = EventLog(SegmentFolder(tmp_path))
    for number in range(5):
        log.expose((float(number), CELL, "u", None))
        log.convert([conversion(str(number))])
        log.flush()

    mine = [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(link)]

    assert len(mine) == 2
    log.close()
