"""The question at the end of a step that a person approves, while the candidate is still watched and judged."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.delivery import desk
from quadra_matrix.delivery.canary import awaits_approval
from quadra_matrix.delivery.model import Observation, Record, Rollout
from quadra_matrix.delivery.site import Order, Site, Watch
from quadra_matrix.errors import DeliveryError
from quadra_matrix.terminal import Exit, can_answer, fail, remark

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


@dataclass(slots=True)
class Approval:
    """Asks once for each step and passes the answer on. Shared by the watch that asks and the thread that reads."""

    descriptor: int
    """Where the answers come from."""
    order: Callable[[Order], object]
    """Passes an order to the rollout."""
    asked: int = -1
    """Last step that was asked about."""
    answered: int = -1
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, rollout: Rollout) -> None:
        """Ask whether to take the next step, unless that was asked already."""
        step = rollout.progress.step
        if step == self.asked or not awaits_approval(rollout.plan, rollout.progress):
            return
        if os.isatty(self.descriptor):
            termios.tcflush(self.descriptor, termios.TCIFLUSH)  # what was typed before is no answer
        self.asked = step
        remark(question(rollout))

    def listen(self) -> None:
        """Take answers until it is over."""
        while not self.over.wait(0.05):
            if self.asked > self.answered and select.select([self.descriptor], [], [], 0.1)[0]:
                self._take(os.read(self.descriptor, 1024).decode(errors="replace"))

    def _take(self, text: str) -> None:
        """Pass a yes or a no on, the last line counts; ask for another word otherwise."""
        if not text:  # the terminal is gone: somebody else may still answer with quadra canary resume
            self.over.set()
            return
        agreed = ANSWERS.get(text.strip().rpartition("\n")[2].strip().lower())
        if agreed is None:
            remark("y or n?")
            return
        step = self.answered = self.asked
        try:
            self.order(lambda record: _answer(record, step, agreed=agreed))
        except DeliveryError as late:  # it turned back by itself meanwhile
            remark(str(late))


def question(rollout: Rollout) -> str:
    """Return what a person is asked at the end of a step."""
    at, plan = rollout.progress, rollout.plan
    following = at.step + 1
    then = f"go on to {plan.share_at(following):g} %" if following < len(plan.steps) else f"promote {at.candidate}"
    return f"{at.candidate} at {plan.share_at(at.step):g} % is {at.verdict.finding}; {then}? [y/n]"


@contextmanager
def approving(site: Site, watch: Watch, *, wait: bool) -> Iterator[Watch]:
    """Yield a watch that also asks at steps that want approval, where somebody can answer and is not to ``wait``."""
    if wait or not can_answer():
        yield watch
        return
    approval = Approval(sys.stdin.fileno(), site.ask)
    listening = threading.Thread(target=approval.listen, name="quadra-approval", daemon=True)

    def both(rollout: Rollout, seen: Observation) -> None:
        watch(rollout, seen)
        approval.ask(rollout)

    listening.start()
    try:
        yield both
    finally:
        approval.over.set()
        listening.join()


def require_somebody(site: Site) -> None:
    """Exit with 4 when this process would move a rollout on to a step that asks, and nobody can answer."""
    record = site.state.read().record
    rollout, moved_by_another = desk.current(record), record.lease and record.lease.until > SYSTEM_CLOCK.now()
    asks = any(step.approve for step in rollout.plan.steps[rollout.progress.step + 1 :])
    if asks and not moved_by_another and not can_answer():
        raise unanswered("--wait")


def unanswered(*ways: str) -> SystemExit:
    """Return the exit of a command that cannot ask."""
    return fail(f"the plan asks for approval and there is no terminal; give {' or '.join(ways)}", Exit.NEEDS_ANSWER)


def _answer(record: Record, step: int, *, agreed: bool) -> Record:
    """Return the record after the answer; an answer about a step that is over changes nothing."""
    if desk.current(record).progress.step != step:
        return record
    return desk.resumed(record) if agreed else desk.going_back(record, "a person refused the step")
