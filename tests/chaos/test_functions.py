"""A failure made of functions ends, whoever is left to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.functions import Functions
from quadra_matrix.chaos.model import Experiment, Target
from quadra_matrix.chaos.outcome import Verdict
from quadra_matrix.pids import process_of
from tests.chaos.conftest import PATIENT, QUICK, ROOT, Service
from tests.services.process import wait_until


def experiment(service: Service, fault: Functions) -> Experiment:
    return Experiment("x", (fault,), Target(service.url), hold=2.0, rto=20, probing=QUICK, margins=PATIENT)


def test_the_function_that_ends_it_is_called_once_and_here(service: Service, tmp_path: Path) -> None:
    calls: list[str] = []
    fault = Functions(
        lambda: (calls.append("begin"), os.kill(service.pid, signal.SIGSTOP)),
        lambda: (calls.append("end"), os.kill(service.pid, signal.SIGCONT)),
        lambda: len(calls) == 1,
    )

    outcome = run(experiment(service, fault), Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.RECOVERED, outcome
    assert outcome.doses[0].delivered == 100
    assert calls == ["begin", "end"]


def test_without_a_check_the_report_says_that_nobody_checked(service: Service, tmp_path: Path) -> None:
    outcome = run(experiment(service, Functions(list, list)), Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.TOLERATED, outcome
    assert "nobody checked" in str(outcome.doses[0])


def test_a_function_that_cannot_begin_makes_the_run_invalid_and_is_ended(service: Service, tmp_path: Path) -> None:
    calls: list[str] = []
    fault = Functions(lambda: 1 / 0, lambda: calls.append("end"))

    outcome = run(experiment(service, fault), Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.INVALID
    assert "ZeroDivisionError" in outcome.because
    assert calls == ["end"]


def test_a_function_that_fails_to_end_it_is_called_again_by_the_keeper(service: Service, tmp_path: Path) -> None:
    tried, ended = tmp_path / "tried", tmp_path / "ended"

    def end() -> None:
        if not tried.exists():
            tried.touch()
            raise OSError("not yet")
        ended.touch()

    outcome = run(experiment(service, Functions(list, end)), Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.TOLERATED, outcome
    assert ended.exists()


PROGRAM = """
import sys, time
from pathlib import Path
from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.functions import Functions
from quadra_matrix.chaos.model import Experiment, Target
from tests.chaos.conftest import QUICK
broken = Path(sys.argv[2])
fault = Functions(broken.touch, lambda: broken.unlink(missing_ok=True))
run(Experiment("x", (fault,), Target(sys.argv[1]), hold=60, probing=QUICK), Surroundings(broken.parent / "chaos"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_keeper_ends_it_when_the_injector_is_killed(
    number: signal.Signals, service: Service, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, service.url, str(broken)], cwd=ROOT) as injector:
        wait_until(broken.exists, "the failure to begin")

        injector.send_signal(number)

        wait_until(lambda: not broken.exists(), "the failure to end", within=1.0)
        wait_until(lambda: process_of(injector.pid) is None, "the injector to end")
