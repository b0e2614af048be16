"""Whole runs against a real service."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Literal

import pytest

from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.faults.network import Latency
from quadra_matrix.chaos.faults.port import Fault
from quadra_matrix.chaos.faults.process import Kill, Pause
from quadra_matrix.chaos.journal import Journal
from quadra_matrix.chaos.model import Experiment, Target
from quadra_matrix.chaos.outcome import Verdict
from quadra_matrix.pids import is_stopped, process_of
from quadra_matrix.testing import RecordingHook
from tests.chaos.conftest import PATIENT, QUICK, ROOT, Service


def experiment(service: Service, *faults: Fault, hold: float = 2.0) -> Experiment:
    target = Target(service.url, service.pid)
    return Experiment("an experiment", faults, target, hold=hold, rto=20, probing=QUICK, margins=PATIENT)


def test_latency_arrives_as_asked_and_is_gone_afterwards(service: Service, tmp_path: Path) -> None:
    hook = RecordingHook()

    outcome = run(experiment(service, Latency(500)), Surroundings(tmp_path / "chaos", hook))

    assert outcome.verdict is Verdict.RECOVERED, outcome
    assert outcome.doses[0].delivered is not None
    assert abs(outcome.doses[0].delivered - 500) < 30
    assert outcome.overhead is not None
    assert outcome.times.to_impact is not None
    assert not list(Journal(tmp_path / "chaos").entries())


def test_a_paused_process_is_resumed(service: Service, tmp_path: Path) -> None:
    outcome = run(experiment(service, Pause()), Surroundings(tmp_path / "chaos"))

    process = process_of(service.pid)
    assert outcome.verdict is Verdict.RECOVERED, outcome
    assert outcome.doses[0].delivered == 100
    assert process is not None
    assert not is_stopped(process)


@pytest.mark.parametrize("number", ["KILL", "TERM"])
def test_a_killed_process_is_started_again(number: Literal["KILL", "TERM"], service: Service, tmp_path: Path) -> None:
    mark, command = tmp_path / "started", (sys.executable, "-m", "tests.chaos.target", str(service.port))
    fault = Kill(number, command, str(ROOT), str(mark))

    outcome = run(experiment(service, fault), Surroundings(tmp_path / "chaos"))

    os.kill(int(mark.read_text().split()[0]), signal.SIGKILL)
    assert outcome.verdict is Verdict.RECOVERED, outcome
    assert outcome.doses[0].delivered == 1
    assert outcome.times.to_impact is not None


def test_a_killed_process_that_nobody_starts_remains(service: Service, tmp_path: Path) -> None:
    outcome = run(experiment(service, Kill()), Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.REMAINS
    assert f"start what listened at {service.address}" in outcome.because


def test_an_unknown_process_is_skipped_and_nothing_is_touched(service: Service, tmp_path: Path) -> None:
    nobody = Experiment("x", (Pause(),), Target(service.url), probing=QUICK)

    outcome = run(nobody, Surroundings(tmp_path / "chaos"))

    assert outcome.verdict is Verdict.SKIPPED
    assert "process number" in outcome.because
