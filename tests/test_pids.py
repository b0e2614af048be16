"""A process is recognised by more than its number."""

from __future__ import annotations

import signal
import subprocess

from quadra_matrix.pids import Process, is_stopped, lives, process_of, this_process
from tests.services.process import wait_until


def test_a_running_process_is_recognised_and_another_of_its_number_is_not() -> None:
    me = this_process()

    assert lives(me)
    assert not lives(Process(me.pid, me.born + 1))


def test_a_process_that_nobody_has_reaped_does_not_live() -> None:
    with subprocess.Popen(["true"]) as child:
        wait_until(lambda: process_of(child.pid) is None, "the child to end")


def test_a_halted_process_is_seen_until_it_goes_on() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = process_of(child.pid)
        assert found is not None
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(found), "the child to halt")

        child.send_signal(signal.SIGCONT)

        wait_until(lambda: not is_stopped(found), "the child to go on")
        assert not is_stopped(Process(found.pid, found.born + 1))
        child.kill()
