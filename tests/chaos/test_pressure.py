"""Pressure reaches its level and goes with its process; limits are read where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.chaos.dose import Delivery
from quadra_matrix.chaos.faults.port import Scene
from quadra_matrix.chaos.faults.pressure import Cpu, Memory
from quadra_matrix.chaos.limits import busy_of, cpus_of, memory_of
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import InvalidValue
from tests.chaos.conftest import Service
from tests.services.process import wait_until

GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def scene(service: Service, tmp_path: Path) -> Scene:
    return Scene(service.address, service.pid, 3.0, 0, (), tmp_path)


@pytest.fixture
def limited(service: Service) -> Iterator[Path]:
    """A control group of 256 MiB with the service in it."""
    group = GROUPS / f"quadra-test-{os.getpid()}"
    if not os.access(GROUPS, os.W_OK) or not (GROUPS / "memory.limit_in_bytes").exists():
        pytest.skip("needs control groups of version 1 and the right to make one")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 << 20))
        (group / "cgroup.procs").write_text(str(service.pid))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (GROUPS / "cgroup.procs").write_text(pid)
        group.rmdir()


def test_memory_is_filled_to_a_level_of_the_targets_own_limit_and_given_back(scene: Scene, limited: Path) -> None:
    memory = memory_of(scene.pid)
    before = memory.percent()
    armed = Memory(70).arm(scene)
    try:
        assert memory.group == limited
        assert memory.percent() == pytest.approx(before, abs=2)

        armed.inject()
        wait_until(lambda: memory.percent() > 69, "memory to fill")
        wait_until(lambda: armed.dose([], []).delivery is Delivery.DELIVERED, "the readings to settle")

        assert memory.percent() == pytest.approx(70, abs=1)
        armed.undo.apply()
        wait_until(armed.undo.is_done, "the burden to end")
    finally:
        armed.close()
    wait_until(lambda: memory.percent() < before + 2, "memory to be given back")


def test_memory_of_a_target_without_a_limit_is_the_hosts(scene: Scene) -> None:
    memory = memory_of(None)

    assert memory.group is None
    assert 0 < memory.percent() < 100


@pytest.mark.slow
def test_processors_are_kept_at_least_as_busy_as_asked(scene: Scene) -> None:
    """At least: other tests use them too, and what they use counts."""
    armed = Cpu(60).arm(scene)
    try:
        armed.inject()
        SYSTEM_CLOCK.sleep(4)
        dose = armed.dose([], [])

        assert dose.delivered is not None
        assert dose.delivered > 57
    finally:
        armed.undo.apply()
        armed.close()
    assert armed.undo.is_done()


def test_a_burden_that_is_only_armed_uses_nothing_and_ends_with_its_owner(scene: Scene) -> None:
    armed = Cpu(100).arm(scene)

    armed.close()

    assert armed.undo.is_done()


def test_ticks_pass_on_processors_and_are_busy_or_not() -> None:
    busy, whole = busy_of(cpus_of(None))

    assert 0 < busy < whole
    assert busy_of(()) == (0, 0)


def test_a_target_elsewhere_has_no_limits_here(tmp_path: Path) -> None:
    elsewhere = Scene("192.0.2.1:80", None, 3.0, 0, (), tmp_path)

    assert "on this machine" in (Cpu().lacks(elsewhere) or "")
    assert "on this machine" in (Memory().lacks(elsewhere) or "")


@pytest.mark.parametrize("percent", [0.0, 96.0])
def test_a_level_at_which_others_are_killed_is_refused(percent: float) -> None:
    with pytest.raises(InvalidValue, match="percent"):
        Memory(percent)
