"""Whatever ends the injector in mid-fault, the fault is gone within a second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from quadra_matrix.chaos.journal import Entry, Journal
from quadra_matrix.chaos.mend import mend_abandoned
from quadra_matrix.pids import process_of
from tests.chaos.conftest import ROOT, Service
from tests.chaos.injector import FAULTS

CLEAN_WITHIN = 1.0
"""Seconds."""


@dataclass(frozen=True)
class Harmed:
    """A service with a fault in place."""

    injector: subprocess.Popen[bytes]
    entry: Entry
    folder: Path

    def is_clean(self) -> bool:
        return all(undo.is_done() for undo in self.entry.undos)

    def janitor(self) -> int:
        """Return the process number of the injector's janitor."""
        for thread in Path(f"/proc/{self.injector.pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                if b"quadra_matrix.chaos.janitor" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        raise AssertionError("there is no janitor")


@contextmanager
def harmed(fault: str, service: Service, folder: Path) -> Iterator[Harmed]:
    """Yield once the fault is in place."""
    words = [sys.executable, "-m", "tests.chaos.injector", fault, service.url, str(service.pid), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as injector:
        try:
            assert injector.stdout is not None
            assert injector.stdout.readline() == b"injected\n"
            (entry,) = Journal(folder).entries()
            at = Harmed(injector, entry, folder)
            assert not at.is_clean()
            yield at
        finally:
            injector.kill()


def seconds_until(holds: Callable[[], bool], within: float) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < within, f"not within {within} s"
        time.sleep(0.002)
    return time.monotonic() - start


@pytest.fixture(params=sorted(FAULTS))
def fault(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "exit_code"),
    [
        ([signal.SIGKILL], -9),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 143),
        ([signal.SIGQUIT], 143),
        ([signal.SIGINT], 130),
        ([signal.SIGINT] * 3, 130),
    ],
    ids=["kill", "term", "hup", "quit", "int", "int three times"],
)
def test_clean_after_a_signal(
    fault: str, numbers: list[signal.Signals], exit_code: int, service: Service, tmp_path: Path
) -> None:
    with harmed(fault, service, tmp_path / "chaos") as at:
        for number in numbers:
            at.injector.send_signal(number)

        seconds_until(at.is_clean, CLEAN_WITHIN)

        assert at.injector.wait(30) == exit_code


@pytest.mark.slow
def test_clean_within_the_lease_or_by_the_next_start_when_the_janitor_is_killed_too(
    fault: str, service: Service, tmp_path: Path
) -> None:
    with harmed(fault, service, tmp_path / "chaos") as at:
        at.injector.send_signal(signal.SIGSTOP)  # so that it cannot start another janitor
        os.kill(at.janitor(), signal.SIGKILL)
        at.injector.kill()
        at.injector.wait()
        if fault not in {"open-files", "pause"}:  # the kernel knows no end of these
            seconds_until(at.is_clean, 2.0)

        assert mend_abandoned(Journal(at.folder)) == (at.entry.run,)

        assert at.is_clean()
        assert not list(Journal(at.folder).entries())


@pytest.mark.slow
def test_clean_within_the_lease_when_the_injector_hangs(fault: str, service: Service, tmp_path: Path) -> None:
    with harmed(fault, service, tmp_path / "chaos") as at:
        at.injector.send_signal(signal.SIGSTOP)

        seconds_until(at.is_clean, 2.0 + CLEAN_WITHIN)

        at.injector.send_signal(signal.SIGCONT)
        assert at.injector.wait(30) == 4  # what was lifted by somebody else is no result


@pytest.mark.slow
def test_a_killed_janitor_is_replaced(service: Service, tmp_path: Path) -> None:
    with harmed("pause", service, tmp_path / "chaos") as at:
        first = at.janitor()
        os.kill(first, signal.SIGKILL)
        seconds_until(lambda: process_of(first) is None and _has_janitor(at), 3.0)

        at.injector.kill()

        seconds_until(at.is_clean, 10 * CLEAN_WITHIN)  # the new one may still be starting


def _has_janitor(at: Harmed) -> bool:
    try:
        return at.janitor() > 0
    except AssertionError:
        return False
