"""Files run out where they should, and nowhere else."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.files import DiskFull, OpenFiles
from quadra_matrix.chaos.faults.port import Scene
from quadra_matrix.chaos.model import Experiment, Target
from quadra_matrix.chaos.outcome import Verdict
from tests.chaos.conftest import PATIENT, QUICK, Service
from tests.services.process import wait_until

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that may be filled."""
    if not os.access(SHARED_MEMORY, os.W_OK) or os.statvfs(SHARED_MEMORY).f_blocks > 2**31:
        pytest.skip("needs a small file system of its own")
    folder = SHARED_MEMORY / f"quadra-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_process_that_may_open_nothing_more_answers_nobody_and_comes_back(service: Service, tmp_path: Path) -> None:
    before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    plan = Experiment(
        "x",
        (OpenFiles(),),
        Target(service.url, service.pid),
        hold=2.0,
        rto=30,
        probing=QUICK,
        margins=PATIENT,
    )

    outcome = run(plan, Surroundings(tmp_path / "chaos"))

    assert outcome.doses[0].delivered == 100
    assert outcome.times.to_impact is not None
    assert outcome.verdict in {Verdict.RECOVERED, Verdict.NOT_RECOVERED}, outcome
    assert resource.prlimit(service.pid, resource.RLIMIT_NOFILE) == before


def test_a_file_system_is_used_to_the_level_that_was_asked_and_emptied(small: Path, tmp_path: Path) -> None:
    used = os.statvfs(small)
    percent = 100 * (used.f_blocks - used.f_bfree) / used.f_blocks + 0.5
    scene = Scene("127.0.0.1:1", None, 3.0, 0, (), tmp_path)
    fault = DiskFull(str(small), round(percent, 3))

    assert fault.lacks(scene) is None
    armed = fault.arm(scene)
    try:
        armed.inject()
        assert not armed.undo.is_done()
        wait_until(lambda: armed.dose([], []).delivered is not None, "the first reading")
        assert armed.dose([], []).delivered == pytest.approx(percent, abs=0.2)
    finally:
        armed.undo.apply()
        armed.close()

    assert armed.undo.is_done()
    assert list(small.iterdir()) == []


@pytest.mark.parametrize("folder", ["/", "/root", "/nowhere/at/all"])
def test_the_root_file_system_is_never_filled(folder: str, tmp_path: Path) -> None:
    scene = Scene("127.0.0.1:1", None, 3.0, 0, (), tmp_path)

    assert DiskFull(folder).lacks(scene) is not None
