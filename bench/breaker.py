"""What a circuit breaker costs a call, beside the ones a user would pick instead, and what holds under threads.

Run: ``python bench/breaker.py`` (``--rounds 15``; ``--write`` keeps the JSON and the table in docs). Costs are
processor time of one process, guarded minus bare, medians of interleaved rounds. The peers live in an environment that
the script makes once, with the versions below.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("circuitbreaker==2.1.3", "pybreaker==1.4.1", "aiobreaker==1.2.0", "purgatory==3.0.1", "interlock-cb==2.8.2")
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-breaker" / "bin" / "python"
PAGE = ROOT / "docs" / "explanation" / "circuit-breakers.md"
RESULTS = ROOT / "bench" / "results" / "breaker.json"
OURS = "Quadra Matrix"
YARDSTICK = "circuitbreaker"
CASES = ("function", "with arguments", "coroutine", "failing call", "refused call")
GOALS = {"function": 0.30, "coroutine": 0.30, "refused call": 0.75}
"""Largest part of circuitbreaker's cost that we allow ourselves."""

Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


class Down(Exception):
    """What a dependency raises when it is down."""


def nothing() -> None:
    return None


def two(a: int, k: int = 2) -> None:
    return None


async def wait_for_nothing() -> None:
    return None


def fail() -> None:
    raise Down


@dataclass(frozen=True)
class Candidate:
    """One library: breakers that never open by themselves, and one that opens at once and stays open."""

    name: str
    steady: Callable[[], Decorate]
    steady_async: Callable[[], Decorate] | None
    brittle: Callable[[float], Decorate]
    """Takes the seconds of open time; opens at the first failure."""
    failing: Callable[[], Decorate] | None = None
    """One that a million failures do not open, where that is not ``steady``."""


def candidates() -> Iterator[Candidate]:
    """Yield every library, set up as its documentation says; a limit that must not be reached is a million."""
    import aiobreaker
    import circuitbreaker
    import interlock
    import purgatory
    import pybreaker

    from quadra_matrix.breaker import CircuitBreaker, FailureRate

    never = 1_000_000

    yield Candidate(
        OURS,
        lambda: CircuitBreaker("bench", never, registry=None),
        lambda: CircuitBreaker("bench", never, registry=None),
        lambda seconds: CircuitBreaker("bench", 1, seconds, registry=None),
    )
    rate = FailureRate(1.0, calls=100, minimum=100)
    yield Candidate(
        f"{OURS}, count window 100",
        lambda: CircuitBreaker("bench", None, rules=[rate], registry=None),
        lambda: CircuitBreaker("bench", None, rules=[rate], registry=None),
        lambda seconds: CircuitBreaker(
            "bench", None, seconds, rules=[FailureRate(1.0, calls=100, minimum=1)], registry=None
        ),
        lambda: CircuitBreaker("bench", None, rules=[FailureRate(1.0, calls=never, minimum=never)], registry=None),
    )
    yield Candidate(
        "circuitbreaker",
        lambda: circuitbreaker.circuit(failure_threshold=never),
        lambda: circuitbreaker.circuit(failure_threshold=never),
        lambda seconds: circuitbreaker.circuit(failure_threshold=1, recovery_timeout=seconds),
    )
    yield Candidate(
        "pybreaker",
        lambda: pybreaker.CircuitBreaker(fail_max=never),
        None,  # its coroutines need Tornado
        lambda seconds: pybreaker.CircuitBreaker(fail_max=1, reset_timeout=seconds),
    )
    yield Candidate(
        "aiobreaker",
        lambda: aiobreaker.CircuitBreaker(fail_max=never),
        lambda: aiobreaker.CircuitBreaker(fail_max=never),
        lambda seconds: aiobreaker.CircuitBreaker(fail_max=1, timeout_duration=timedelta(seconds=seconds)),
    )
    yield Candidate(
        "purgatory",
        lambda: purgatory.SyncCircuitBreakerFactory(never)("bench"),
        lambda: purgatory.AsyncCircuitBreakerFactory(never)("bench"),
        lambda seconds: purgatory.SyncCircuitBreakerFactory(1, seconds)("bench"),
    )
    calm = interlock.Config(failure_rate_threshold=1.0, minimum_number_of_calls=100)
    patient = interlock.Config(failure_rate_threshold=1.0, minimum_number_of_calls=never, window_size=never)
    yield Candidate(
        "interlock-cb, count window 100",
        lambda: interlock.CircuitBreaker(name="bench", config=calm),
        lambda: interlock.CircuitBreaker(name="bench", config=calm),
        lambda seconds: interlock.CircuitBreaker(
            name="bench",
            config=interlock.Config(
                minimum_number_of_calls=1, wait_duration_in_open=seconds, permitted_calls_in_half_open=1
            ),
        ),
        lambda: interlock.CircuitBreaker(name="bench", config=patient),
    )


# Costs


def seconds_of(call: Callable[[], Any], times: int) -> float:
    """Return the processor seconds of ``times`` calls."""
    repeat = range(times)
    began = time.process_time()
    for _ in repeat:
        call()
    return time.process_time() - began


def seconds_of_awaits(call: Callable[[], Awaitable[Any]], times: int) -> float:
    async def main() -> float:
        repeat = range(times)
        began = time.process_time()
        for _ in repeat:
            await call()
        return time.process_time() - began

    return asyncio.run(main())


def seconds_of_errors(call: Callable[[], Any], times: int) -> float:
    repeat = range(times)
    began = time.process_time()
    for _ in repeat:
        try:
            call()
        except Exception:  # noqa: BLE001  the error is what is measured
            continue
    return time.process_time() - began


def workloads(candidate: Candidate) -> dict[str, Callable[[int], float]]:
    """Return, for each case, what measures so many calls of it."""
    steady = candidate.steady()
    plain, arguments, failing = steady(nothing), steady(two), (candidate.failing or candidate.steady)()(fail)
    opened = candidate.brittle(3600.0)
    with_contextlib(lambda: opened(fail)())
    refused = opened(nothing)
    found: dict[str, Callable[[int], float]] = {
        "function": lambda times: seconds_of(plain, times),
        "with arguments": lambda times: seconds_of(lambda: arguments(1, k=2), times),
        "failing call": lambda times: seconds_of_errors(failing, times),
        "refused call": lambda times: seconds_of_errors(refused, times),
    }
    if candidate.steady_async is not None:
        waiting = candidate.steady_async()(wait_for_nothing)
        found["coroutine"] = lambda times: seconds_of_awaits(waiting, times)
    return found


BARE: dict[str, Callable[[int], float]] = {
    "function": lambda times: seconds_of(nothing, times),
    "with arguments": lambda times: seconds_of(lambda: two(1, k=2), times),
    "coroutine": lambda times: seconds_of_awaits(wait_for_nothing, times),
    "failing call": lambda times: seconds_of_errors(fail, times),
}


def with_contextlib(call: Callable[[], Any]) -> bool:
    """Call and tell whether it returned."""
    try:
        call()
    except Exception:  # noqa: BLE001  any library, any refusal
        return False
    return True


def measure_costs(rounds: int, times: int) -> dict[str, dict[str, float]]:
    """Return nanoseconds a call of each library and case: medians over interleaved rounds."""
    loads = {"bare": BARE, **{candidate.name: workloads(candidate) for candidate in candidates()}}
    taken: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for case in CASES:
            for name, cases in loads.items():
                if case in cases:
                    gc.collect()
                    took = cases[case](times) / times * 1e9
                    if turn:  # the first round warms up
                        taken.setdefault((name, case), []).append(took)
    medians = {key: statistics.median(values) for key, values in taken.items()}
    return {
        name: {
            case: medians[name, case] - medians.get(("bare", case), 0.0) for case in CASES if (name, case) in medians
        }
        for name in loads
        if name != "bare"
    }


# Behaviour


@contextmanager
def switching(seconds: float) -> Iterator[None]:
    """Let threads take turns that often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Callable[[], object]) -> float:
    """Run ``work`` in so many threads from one moment on; return the seconds until the last has ended."""
    gate = threading.Barrier(count + 1)

    def begin() -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=begin) for _ in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def speed_up(candidate: Candidate) -> float:
    """Return how much faster 8 threads do 20 ms calls than one: the best of five, as other work only slows it down."""
    nap = candidate.steady()(lambda: time.sleep(0.02))

    def ten() -> None:
        for _ in range(10):
            nap()

    return 8 * 10 * 0.02 / min(in_threads(8, ten) for _ in range(5))


def herd(candidate: Candidate) -> int:
    """Return how many of 32 threads reach a dependency at the moment the open time ends."""
    breaker, reached = candidate.brittle(1.0), []

    def probe() -> None:
        reached.append(1)
        time.sleep(0.3)

    with_contextlib(lambda: breaker(fail)())
    guarded = breaker(probe)
    time.sleep(1.1)
    in_threads(32, lambda: with_contextlib(guarded))
    return len(reached)


def herd_of_tasks() -> int:
    """Return the same for tasks of one loop, for ours."""
    from quadra_matrix.breaker import CircuitBreaker

    breaker, reached = CircuitBreaker("bench", 1, 0.05, registry=None), []
    with_contextlib(lambda: breaker.call(fail))
    time.sleep(0.1)

    async def probe() -> None:
        reached.append(1)
        await asyncio.sleep(0.05)

    async def main() -> None:
        await asyncio.gather(*(breaker(probe)() for _ in range(32)), return_exceptions=True)

    asyncio.run(main())
    return len(reached)


def lost_counts() -> int:
    """Return the calls that are missing after 1.6 million by 8 threads at a switch interval of a microsecond."""
    from quadra_matrix.breaker import CircuitBreaker

    breaker = CircuitBreaker("bench", registry=None)
    guarded = breaker(nothing)

    def work() -> None:
        for _ in range(200_000):
            guarded()

    with switching(1e-6):
        in_threads(8, work)
    return 1_600_000 - breaker.snapshot().successes


def growth_over_refusals(refusals: int) -> int:
    """Return the bytes that so many refusals leave behind."""
    import tracemalloc

    from quadra_matrix.breaker import CircuitBreaker

    breaker = CircuitBreaker("bench", 1, 3600, registry=None)
    with_contextlib(lambda: breaker.call(fail))
    guarded = breaker(nothing)
    seconds_of_errors(guarded, 1000)
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    seconds_of_errors(guarded, refusals)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


# Report


def measure(rounds: int, times: int) -> dict[str, Any]:
    costs = measure_costs(rounds, times)
    each = [candidate for candidate in candidates() if "window" not in candidate.name or OURS not in candidate.name]
    return {
        "machine": {"python": platform.python_version(), "system": platform.platform(), "cpu": cpu()},
        "peers": list(PEERS),
        "rounds": rounds,
        "calls a round": times,
        "nanoseconds": {name: {case: round(cost) for case, cost in cases.items()} for name, cases in costs.items()},
        "ratio to circuitbreaker": {
            case: round(costs[OURS][case] / costs[YARDSTICK][case], 3) for case in CASES if case in costs[YARDSTICK]
        },
        "speed-up of 8 threads in 20 ms calls": {each.name: round(speed_up(each), 2) for each in each},
        "of 32 threads reach the dependency": {each.name: herd(each) for each in each},
        "of 32 tasks reach the dependency": herd_of_tasks(),
        "calls lost of 1.6 million": lost_counts(),
        "bytes left by a million refusals": growth_over_refusals(1_000_000),
    }


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def table(found: dict[str, Any]) -> str:
    """Return the results in Markdown."""
    names = list(found["nanoseconds"])
    speed, reach = found["speed-up of 8 threads in 20 ms calls"], found["of 32 threads reach the dependency"]
    head = ["", *CASES, "8 threads", "probes of 32"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name in names:
        costs = [str(found["nanoseconds"][name].get(case, "-")) for case in CASES]
        lines.append("| " + " | ".join([name, *costs, str(speed.get(name, "")), str(reach.get(name, ""))]) + " |")
    ratios = [str(found["ratio to circuitbreaker"][case]) for case in CASES]
    lines.append("| **ours / circuitbreaker** | " + " | ".join(f"**{ratio}**" for ratio in ratios) + " | | |")
    machine = found["machine"]
    lines += [
        "",
        f"`python bench/breaker.py --rounds {found['rounds']}` on {machine['cpu']}, Python {machine['python']}, "
        f"{', '.join(found['peers'])}.",
        f"Of 32 tasks {found['of 32 tasks reach the dependency']} reached the dependency; "
        f"{found['calls lost of 1.6 million']} of 1.6 million calls were lost at a switch interval of a microsecond; "
        f"a million refusals left {found['bytes left by a million refusals']} bytes.",
    ]
    return "\n".join(lines)


def judge(found: dict[str, Any]) -> list[str]:
    """Return the goals that were missed."""
    ratios = found["ratio to circuitbreaker"]
    missed = [f"{case}: {ratios[case]} > {goal}" for case, goal in GOALS.items() if ratios[case] > goal]
    if found["speed-up of 8 threads in 20 ms calls"][OURS] < 7.5:
        missed.append("8 threads: below 7.5")
    if found["of 32 threads reach the dependency"][OURS] != 1 or found["of 32 tasks reach the dependency"] != 1:
        missed.append("more than one probe")
    if found["calls lost of 1.6 million"]:
        missed.append("calls lost")
    if found["bytes left by a million refusals"] > 10_000:
        missed.append("memory grows")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=20_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.inside:
        build()
    found = measure(chosen.rounds, chosen.times)
    print(table(found))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        marked = re.compile(r"(<!-- bench -->\n).*?(<!-- end -->)", re.DOTALL)
        PAGE.write_text(marked.sub(lambda mark: f"{mark[1]}{table(found)}\n{mark[2]}", PAGE.read_text()))
    missed = judge(found)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def build() -> None:
    """Make the peers' environment unless it is there, and run this file in it."""
    if not PYTHON.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    command = [PYTHON, __file__, "--inside", *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")}).returncode)


if __name__ == "__main__":
    main()
