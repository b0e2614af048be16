"""Undos survive the journal, are tried again, and say what a person can type."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quadra_matrix.chaos import undo
from quadra_matrix.chaos.journal import Entry, Journal
from quadra_matrix.chaos.mend import mend_abandoned, take_back
from quadra_matrix.chaos.undo import (
    Call,
    Command,
    EndKeeper,
    EndProcess,
    LiftProxy,
    RemoveFile,
    Resume,
    SetOpenFiles,
    StartAgain,
    Undo,
)
from quadra_matrix.errors import FaultRemains, InvalidValue, TargetBusy
from quadra_matrix.pids import Process, process_of, this_process
from quadra_matrix.testing import FakeClock

ONE_OF_EACH: list[Undo] = [
    Resume(2**22, 1),
    EndProcess(2**22, 1),
    SetOpenFiles(2**22, 1, 1024, 4096),
    EndKeeper(2**22, 1),
    LiftProxy("/nowhere/proxy"),
    StartAgain("127.0.0.1:1", ["true"], ".", "/nowhere/mark"),
    Call("builtins:print", {"sep": ""}),
    Command(["true"], ["true"]),
    RemoveFile("/nowhere/at/all"),
]
GONE = Process(2**22, 1)
"""A process that does not run."""


def test_there_is_an_example_of_each_kind() -> None:
    assert {type(one).__name__ for one in ONE_OF_EACH} == set(undo.KINDS)


@pytest.mark.parametrize("one", ONE_OF_EACH, ids=lambda one: type(one).__name__)
def test_an_undo_survives_json(one: Undo) -> None:
    text = json.dumps(undo.to_document(one))

    assert undo.from_document(json.loads(text)) == one


@pytest.mark.parametrize(
    "one", [one for one in ONE_OF_EACH if not isinstance(one, StartAgain)], ids=lambda one: type(one).__name__
)
def test_an_undo_of_what_is_gone_already_is_done(one: Undo) -> None:
    one.apply()

    assert one.is_done()
    assert one.by_hand()


def test_an_undo_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidValue, match="Teleport"):
        undo.from_document({"undo": "Teleport"})


def test_a_process_that_only_does_harm_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        found = process_of(child.pid)
        assert found is not None

        assert take_back([EndProcess(found.pid, found.born)]) == ()

        assert child.wait(10) == -9


def test_another_process_of_the_same_number_is_left_alone() -> None:
    me = this_process()

    EndProcess(me.pid, me.born + 1).apply()
    Resume(me.pid, me.born + 1).apply()


def test_the_last_fault_is_taken_back_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    undos = [Command(["sh", "-c", f"echo {name} >> {order}"]) for name in ("first", "second")]

    take_back(undos)

    assert order.read_text().split() == ["second", "first"]


def test_an_undo_that_fails_is_tried_until_the_deadline(tmp_path: Path) -> None:
    clock, file = FakeClock(), tmp_path / "file"
    file.touch()
    undos = (Command(["false"]), RemoveFile(str(file)), Call("json:loads", {"s": "{"}))

    left = take_back(undos, within=5, clock=clock)

    assert left == (undos[0], undos[2])
    assert not file.exists()
    assert sum(clock.slept) >= 5


def test_what_a_dead_run_left_is_taken_back_once(tmp_path: Path) -> None:
    journal, file = Journal(tmp_path), tmp_path / "file"
    file.touch()
    journal.write(Entry("dead", "http://target", GONE, (RemoveFile(str(file)),)))
    journal.write(Entry("alive", "http://target", this_process(), (RemoveFile(str(tmp_path)),)))

    assert mend_abandoned(journal) == ("dead",)

    assert not file.exists()
    assert [entry.run for entry in journal.entries()] == ["alive"]
    assert mend_abandoned(journal) == ()


def test_what_cannot_be_taken_back_stays_in_the_journal_with_what_to_type(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    entry = Entry("dead", "http://target", GONE, (RemoveFile("/nowhere"), Command(["false"])))
    journal.write(entry)

    with pytest.raises(FaultRemains, match="false") as raised:
        mend_abandoned(journal, FakeClock())

    assert raised.value.commands == ("false",)
    assert journal.read("dead") == replace(entry, undos=(Command(["false"]),))


def test_a_target_has_one_experiment_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    with (
        journal.locked("http://one"),
        journal.locked("http://other"),
        pytest.raises(TargetBusy, match="process"),
        journal.locked("http://one"),
    ):
        pass

    with journal.locked("http://one"):
        pass
