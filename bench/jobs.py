"""Training jobs and the hub: what a killed process breaks, how soon the truth is told, what idle sockets cost HTTP.

Run: ``python -m bench.jobs`` (``--rounds 10``). The service runs as processes around a view that does nothing; the
peer is ``concurrent.futures.ProcessPoolExecutor``, which most services reach for. Times are of the wall clock, because
they are promises to people; the cost of a request is processor time of the HTTP worker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from websockets.sync.client import connect

from quadra_matrix.service.jobs import machine
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job, new_id

SOCKETS = 200
REQUESTS = 200
"""GETs in one round of each arm."""
TOGETHER = 6
"""Jobs that run when one of them is killed."""
WITHIN = 60.0
"""Seconds after which a wait is a failure."""


def wait_until(holds: Callable[[], bool]) -> float:
    """Return the seconds until ``holds``."""
    begun = time.perf_counter()
    while not holds():
        if time.perf_counter() - begun > WITHIN:
            raise TimeoutError(holds)
        time.sleep(0.01)
    return time.perf_counter() - begun


def answers(port: int) -> bool:
    try:
        get(port)
    except OSError:
        return False
    return True


def get(port: int) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


@contextlib.contextmanager
def service(settings: Settings) -> Iterator[SqlJobs]:
    """Run the whole service around a view that does nothing."""
    database = Database(settings.database_url)
    upgrade(database)
    program = 'from tests.service.apps import serve_with; serve_with("tests.service.apps:tiny")'
    process = subprocess.Popen([sys.executable, "-c", program], env=settings.child_environment())
    try:
        wait_until(lambda: answers(settings.port) and answers(settings.hub_port))
        yield SqlJobs(database)
    finally:
        process.terminate()
        process.wait(60)
        database.close()


def submit(jobs: SqlJobs, kind: str, **request: object) -> str:
    job = Job(new_id(time.time()), kind, created=time.time())
    return jobs.add(job, request, queue_limit=1000).id


def reported(jobs: SqlJobs, job: str) -> int:
    """Return the number of the job's process once it is at work."""
    wait_until(lambda: "pid" in jobs.get(job).metrics)
    return int(jobs.get(job).metrics["pid"])


def is_over(jobs: SqlJobs, job: str) -> bool:
    return jobs.get(job).state.is_over


def promises(jobs: SqlJobs, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of an empty job, of a kill until its job says so, and of a cancel."""
    found: dict[str, list[float]] = {"empty job": [], "kill -9 to failed": [], "cancel to cancelled": []}
    for _ in range(rounds):
        empty = submit(jobs, "quick")
        found["empty job"].append(wait_until(partial(is_over, jobs, empty)))
        killed = submit(jobs, "hangs")
        os.kill(reported(jobs, killed), signal.SIGKILL)
        found["kill -9 to failed"].append(wait_until(partial(is_over, jobs, killed)))
        cancelled = submit(jobs, "waits", until="/nowhere")
        reported(jobs, cancelled)
        jobs.change(cancelled, partial(machine.ask_to_cancel, now=time.time()))
        found["cancel to cancelled"].append(wait_until(partial(is_over, jobs, cancelled)))
    return found


def survivors(jobs: SqlJobs, folder: Path) -> int:
    """Kill one of ``TOGETHER`` jobs that run and return how many of the others succeed."""
    flag = folder / "go"
    running = [submit(jobs, "waits", until=str(flag)) for _ in range(TOGETHER)]
    pids = [reported(jobs, job) for job in running]
    os.kill(pids[0], signal.SIGKILL)
    flag.touch()
    wait_until(lambda: all(is_over(jobs, job) for job in running))
    return sum(jobs.get(job).state == "succeeded" for job in running[1:])


def pool_survivors(folder: Path) -> int:
    """Do the same with a process pool."""
    flag = folder / "pool"
    with ProcessPoolExecutor(TOGETHER, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(pooled, folder, number, flag) for number in range(TOGETHER)]
        wait_until(lambda: all((folder / f"{number}.pid").exists() for number in range(TOGETHER)))
        os.kill(int((folder / "0.pid").read_text()), signal.SIGKILL)
        flag.touch()
        return sum(future.exception(WITHIN) is None for future in running[1:])


def pooled(folder: Path, number: int, flag: Path) -> None:
    """Work until the flag is there."""
    written = folder / f"{number}.new"
    written.write_text(str(os.getpid()))
    written.rename(folder / f"{number}.pid")
    wait_until(flag.exists)
    time.sleep(1)  # the death of one is noticed while the others work


def sockets(settings: Settings, rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """Return p50, p99 (ms) and worker CPU (us) of a GET for each round, without and with idle sockets."""
    arms: dict[str, list[tuple[float, float, float]]] = {"no socket": [], f"{SOCKETS} idle sockets": []}
    worker = int(get(settings.port))
    for _ in range(rounds):
        arms["no socket"].append(timed(settings.port, worker))
        with contextlib.ExitStack() as held:
            for _ in range(SOCKETS):
                held.enter_context(connect(f"ws://127.0.0.1:{settings.hub_port}/ws"))
            arms[f"{SOCKETS} idle sockets"].append(timed(settings.port, worker))
    return arms


def timed(port: int, worker: int) -> tuple[float, float, float]:
    before, times = cpu(worker), []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        get(port)
        times.append((time.perf_counter() - begun) * 1e3)
    times.sort()
    return times[REQUESTS // 2], times[int(REQUESTS * 0.99)], (cpu(worker) - before) / REQUESTS * 1e6


def cpu(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int) -> dict[str, object]:
    """Run everything and return the numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            data_dir=folder / "data", port=5710, hub_port=5711, workers=1, max_running_jobs=TOGETHER, grace_seconds=8
        )
        settings.data_dir.mkdir()
        with service(settings) as jobs:
            ours, told = survivors(jobs, folder), promises(jobs, rounds)
            arms = sockets(settings, rounds)
        pool = pool_survivors(folder)
    gets = {arm: [statistics.median(column) for column in zip(*found, strict=True)] for arm, found in arms.items()}
    return {
        "rounds": rounds,
        "survivors": {"quadra": ours, "process pool": pool, "of": TOGETHER - 1},
        "seconds": {name: {"median": statistics.median(found), "max": max(found)} for name, found in told.items()},
        "get": {arm: dict(zip(("p50_ms", "p99_ms", "cpu_us"), found, strict=True)) for arm, found in gets.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    result = measure(parser.parse_args().rounds)
    text = json.dumps(result, indent=2) + "\n"
    (Path(__file__).parent / "results" / "jobs.json").write_text(text)
    print(text)
