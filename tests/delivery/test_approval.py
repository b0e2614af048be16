"""Steps that a person approves: asked on a terminal, refused without one, and judged while the question is open."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.cli.approval import Approval
from quadra_matrix.delivery.engine import Engine, Ports
from quadra_matrix.delivery.model import Kind, Phase, Record
from quadra_matrix.delivery.plan import Plan, Step
from quadra_matrix.testing.delivery import Behaviour, FakePlatform
from tests.delivery.conftest import QUADRA, Local
from tests.delivery.load import steady

PLAN = Plan(steps=(Step(50, 20, approve=True), Step(100, 20, approve=True)), baseline=5)
PLAN_FILE = """
steps: [{share: 50, seconds: 1, approve: true}, {share: 100, seconds: 1, approve: true}]
baseline: 1
tick: 0.5
ready_within: 10
limits: {enough_points: 0.2, latency: false}
"""


@dataclass
class Desk:
    """A rollout on a fake platform, and somebody who answers its questions."""

    platform: FakePlatform = field(default_factory=lambda: FakePlatform(rate=50, v1=Behaviour(), v2=Behaviour()))

    def __post_init__(self) -> None:
        one, now = self.platform, self.platform.clock.now()
        ports = Ports(one.traffic, one.workload, one.evidence, one.state, one.outside)
        self.engine = Engine(ports, holder="me", clock=one.clock)
        rollout = desk.new_rollout("r1", Kind.CANARY, PLAN, stable="v1", candidate="v2", now=now)
        self.engine.lease(lambda record: desk.began(record, rollout, now))

    @property
    def record(self) -> Record:
        return self.platform.state.read().record


@pytest.fixture
def answers() -> Iterator[tuple[Desk, Approval, int]]:
    """Yield a rollout, its approval, and the end of a pipe into which answers are written."""
    read, write = os.pipe()
    one = Desk()
    approval = Approval(read, one.engine.ask)
    thread = threading.Thread(target=approval.listen)
    thread.start()
    yield one, approval, write
    approval.over.set()
    thread.join()
    os.close(read)
    os.close(write)


def until_asked(one: Desk, approval: Approval, step: int) -> None:
    """Look until the step was asked about."""
    while approval.asked < step:
        approval.ask(one.engine.look())


def until_answered(approval: Approval, step: int) -> None:
    pause = threading.Event()
    for _ in range(500):
        if approval.answered >= step:
            return
        pause.wait(0.01)
    pytest.fail("nobody took the answer")


def test_every_step_is_asked_about_once(answers: tuple[Desk, Approval, int], capfd: pytest.CaptureFixture[str]) -> None:
    one, approval, pipe = answers
    for step in (0, 1):
        until_asked(one, approval, step)
        os.write(pipe, b"perhaps\nYes\n")
        until_answered(approval, step)

    ended = one.engine.run()

    assert ended.progress.phase is Phase.DONE
    asked = capfd.readouterr().err
    assert asked.count("v2 at 50 % is not worse; go on to 95 %? [y/n]") == 1
    assert asked.count("v2 at 95 % is not worse; promote v2? [y/n]") == 1


def test_a_no_goes_back(answers: tuple[Desk, Approval, int]) -> None:
    one, approval, pipe = answers
    until_asked(one, approval, 0)

    os.write(pipe, b"n\n")
    until_answered(approval, 0)
    ended = one.engine.run()

    assert (ended.progress.phase, ended.progress.because) == (Phase.ROLLED_BACK, "a person refused the step")


def test_a_late_answer_is_about_no_other_step(answers: tuple[Desk, Approval, int]) -> None:
    """Somebody else approved the first step; our yes to it must not approve the second."""
    one, approval, pipe = answers
    until_asked(one, approval, 0)
    one.engine.ask(desk.resumed)
    while one.record.rollout is None or one.record.rollout.progress.step == 0:
        one.engine.look()

    os.write(pipe, b"y\n")
    until_answered(approval, 0)

    assert desk.current(one.record).progress.orders.approved == 0


def test_the_candidate_is_judged_while_the_question_is_open(answers: tuple[Desk, Approval, int]) -> None:
    one, approval, _ = answers
    until_asked(one, approval, 0)

    one.platform.behaviours["v2"] = Behaviour(error_rate=0.5)
    ended = one.engine.run()

    assert ended.progress.phase is Phase.ROLLED_BACK


def talk(words: list[str], says: list[str]) -> tuple[int, str]:
    """Run a command on a terminal, answer its questions, and return its exit code and what it showed."""
    here, there = pty.openpty()
    process = subprocess.Popen(words, stdin=there, stdout=there, stderr=there, start_new_session=True)
    os.close(there)
    shown, answered = "", 0
    while True:
        try:
            part = os.read(here, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part.decode(errors="replace")
        while shown.count("[y/n]") > answered < len(says):
            os.write(here, says[answered].encode() + b"\n")
            answered += 1
    os.close(here)
    return process.wait(30), shown


@pytest.mark.slow
@pytest.mark.parametrize(("says", "code", "share"), [(["y", "y"], 0, {"v2": 100}), (["y", "n"], 1, {"v1": 100})])
def test_a_terminal_is_asked(local: Local, says: list[str], code: int, share: dict[str, int]) -> None:
    words = local.deploy("canary", "v2")
    (local.folder.parent / "plan.yaml").write_text(PLAN_FILE)

    with steady(local.port, rate=100):
        ended, shown = talk(words, says)

    assert ended == code, shown
    assert local.shares() == share
    assert shown.count("[y/n]") == 2


def test_resume_without_a_terminal_refuses_a_plan_that_asks_later(tmp_path: Path) -> None:
    from quadra_matrix.delivery.state import FileState

    state, now = FileState(tmp_path), 1000.0
    rollout = desk.new_rollout("r1", Kind.CANARY, PLAN, stable="v1", candidate="v2", now=now)
    state.swap(replace(Record(), rollout=rollout), state.read().revision)

    ended = subprocess.run(
        [*QUADRA, "canary", "resume", "--state", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 4
    assert "give --wait" in ended.stderr
