"""Work for the tests: quick, slow, failing, crashing, hanging. Each runs in the process of its job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quadra_matrix.errors import InvalidValue
from quadra_matrix.service.jobs.assignment import Assignment
from quadra_matrix.storage.sql.models import SqlModels
from quadra_matrix.store.models import ModelVersion

HERE = "tests.service.jobs.kinds"
KINDS = {name: f"{HERE}:{name}" for name in ("quick", "waits", "refuses", "breaks", "dies", "hangs", "missing")}
KINDS["train"] = f"{HERE}:trains"


def quick(task: Assignment) -> Mapping[str, Any]:
    """Report a few steps and echo the request."""
    for step in range(3):
        task.report("fit", step / 3, {"loss": 1.0 / (step + 1)})
    return {"echo": dict(task.request)}


def trains(task: Assignment) -> Mapping[str, Any]:
    """Do as a training does, in a moment; a model called ``refused`` cannot be trained."""
    if task.request["model"] == "refused":
        raise InvalidValue("target", "nobody", "a column of the data")
    for phase, fraction in (("loading", 0.0), ("fitting", 0.1), ("publishing", 0.95)):
        task.report(phase, fraction, {"accuracy": 0.97})
    return {"model": task.request["model"], "version": 1}


def dies_publishing(task: Assignment) -> Mapping[str, Any]:
    """Train, and be killed when the model's files are in place and its record is not written."""
    from quadra_matrix.service.jobs.training import run

    real = SqlModels.publish

    def publish(
        store: SqlModels, draft: ModelVersion, aliases: Mapping[str, bool], place: Callable[[int], None]
    ) -> ModelVersion:
        def place_and_die(number: int) -> None:
            place(number)
            os.kill(os.getpid(), signal.SIGKILL)

        return real(store, draft, aliases, place_and_die)

    SqlModels.publish = publish  # type: ignore[method-assign]  # this process does nothing else
    return run(task)


def waits(task: Assignment) -> Mapping[str, Any]:
    """Work until the file that the request names exists, with a child of its own beside it."""
    beside = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait(300)"])
    task.report("waiting", 0.5, {"pid": os.getpid(), "child": beside.pid})
    wake = threading.Event()
    while not Path(task.request["until"]).exists():
        wake.wait(0.02)
    beside.kill()
    beside.wait(10)
    return {"waited": True}


def refuses(task: Assignment) -> Mapping[str, Any]:
    raise InvalidValue("target", "nobody", "a column of the data")


def breaks(task: Assignment) -> Mapping[str, Any]:
    raise RuntimeError("password=hunter2")


def dies(task: Assignment) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hangs(task: Assignment) -> Mapping[str, Any]:
    """Ignore the polite signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    task.report("hanging", 0.1, {"pid": os.getpid()})
    threading.Event().wait(300)
    return {}
