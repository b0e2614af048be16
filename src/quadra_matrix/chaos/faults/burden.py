"""A process that uses memory or processors up to a level: ``burden cpu|memory PERCENT [PID]``.

It waits for a line on standard input, then holds the level in a closed loop: what others use counts, so it takes only
what is missing and gives back what is too much. At the end of its input it ends; the kernel takes everything back. It
is the first that the kernel ends when memory runs out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
from collections import deque
from pathlib import Path

from quadra_matrix.chaos.limits import busy_of, cpus_of, memory_of
from quadra_matrix.clock import SYSTEM_CLOCK

STEP = 1 << 20
"""Bytes taken or given back at once."""
AT_ONCE = 256
"""Steps between two looks at what is used."""
SLICE = 0.01
"""Seconds a processor is kept busy, or left alone, between two looks."""
WINDOW = 200
"""Slices over which the level is held: what others used in them counts."""
PR_SET_PDEATHSIG = 1


def hold_memory(percent: float, pid: int | None) -> None:
    """Hold memory at a level until the input ends."""
    memory = memory_of(pid)
    memory.join(os.getpid())
    aim, taken = int(memory.limit * percent / 100), deque[mmap.mmap]()
    while not _is_over(0.02):
        missing = (aim - memory.used()) // STEP
        for _ in range(min(AT_ONCE, missing)):
            block = mmap.mmap(-1, STEP)
            for place in range(0, STEP, mmap.PAGESIZE):
                block[place] = 1
            taken.append(block)
        for _ in range(min(len(taken), -missing)):
            taken.pop().close()


def hold_cpus(percent: float, pid: int | None) -> None:
    """Hold every processor of the target at a level until the input ends, each by a process of its own."""
    for cpu in cpus_of(pid):
        if not os.fork():
            die_with_parent()
            _hold_cpu(cpu, percent / 100)
    while not _is_over(1.0):
        pass


def _hold_cpu(cpu: int, share: float) -> None:
    """Hold one processor at a level. Never returns."""
    os.sched_setaffinity(0, {cpu})
    seen = deque([busy_of((cpu,))], maxlen=WINDOW)
    clock = SYSTEM_CLOCK.monotonic
    while True:
        now = busy_of((cpu,))
        busy, whole = now[0] - seen[0][0], now[1] - seen[0][1]
        seen.append(now)
        if busy < share * whole or not whole:
            end = clock() + SLICE
            while clock() < end:
                pass
        else:
            SYSTEM_CLOCK.sleep(SLICE)


def die_with_parent() -> None:
    """Have the kernel end this process with its parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:
        os._exit(0)


def _is_over(seconds: float) -> bool:
    """Tell whether the input has ended; wait for that at most so long."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def main(kind: str, percent: str, pid: str = "") -> None:
    """Hold a level once told to."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    if os.read(sys.stdin.fileno(), 3) == b"go\n":
        {"cpu": hold_cpus, "memory": hold_memory}[kind](float(percent), int(pid) if pid else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
