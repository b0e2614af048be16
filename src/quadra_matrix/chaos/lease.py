"""The injector's end of a janitor: hand over each undo before the fault, give signs of life, lift, confirm."""

from __future__ import annotations

import json
import logging
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from quadra_matrix.chaos import janitor
from quadra_matrix.chaos.journal import Entry, Journal, without
from quadra_matrix.chaos.mend import DEADLINE, take_back
from quadra_matrix.chaos.undo import Undo, to_document
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import FaultFailed, FaultRemains
from quadra_matrix.pids import this_process

log = logging.getLogger(__name__)

START_WITHIN = 30.0
"""Seconds a janitor may take to hold its first undo; the machine may be under pressure."""


class Lease:
    """Every fault of one run. May be shared between threads.

    A janitor process holds the undo of each fault that is in place. One that dies is replaced within a sign of life.
    If this process went silent for ``seconds``, the janitor took everything back: ``is_expired``.
    """

    def __init__(
        self, journal: Journal, run: str, target: str, *, seconds: float = 3.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._journal, self._clock, self._seconds = journal, clock, seconds
        self._entry = Entry(run, target, this_process(), ())
        self._renewals: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._patience = DEADLINE
        self.is_expired = False
        self._janitor = self._start()
        self._heart = threading.Thread(target=self._beat, name="chaos-lease", daemon=True)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lift what is left, then let the janitor go."""
        try:
            self.lift()
        finally:
            self._over.set()
            self._heart.join()
            self._end()

    def hold(self, undo: Undo, renew: Callable[[], None] | None = None) -> None:
        """Return once the undo is on the disk and in the janitor's hands; only then may the fault begin.

        ``renew`` is called with every sign of life, for faults that end by themselves.
        """
        with self._lock:
            self._entry = replace(self._entry, undos=(*self._entry.undos, undo))
            self._journal.write(self._entry)
            if not self._order({"hold": to_document(undo)}):
                self._replace()
            elif not self._answered():
                raise FaultFailed(type(undo).__name__, "the janitor does not answer")
            if renew is not None:
                self._renewals.append(renew)

    def lift(self) -> None:
        """Take every fault back and read at its source that it is gone. Raises ``FaultRemains``.

        Tries for ten seconds the first time, and once from then on: the janitor goes on after this process.
        """
        with self._lock:
            self._renewals.clear()
            held = self._entry.undos
            left = take_back(held, within=self._patience, clock=self._clock)
            for undo in held:
                if not any(undo is other for other in left):
                    self._order({"drop": to_document(undo)})
                    self._entry = replace(self._entry, undos=without(self._entry.undos, undo))
            self._journal.write(self._entry)
        if left:
            self._patience = 0.0
            raise FaultRemains(self._entry.run, [undo.by_hand() for undo in left])

    @property
    def private(self) -> tuple[int, ...]:
        """Return the file descriptors that no other child may keep, or the janitor never learns of our end."""
        assert self._janitor.stdin is not None
        return (self._janitor.stdin.fileno(),)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a janitor out of reach of Ctrl-C; nothing else inherits the end of its pipe."""
        words = ["quadra_matrix.chaos.janitor", str(self._journal.folder), self._entry.run, str(self._seconds)]
        self._journal.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._journal.folder / "janitor.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603  the interpreter that runs us, and our own module
                [sys.executable, "-m", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def _beat(self) -> None:
        """Give signs of life until the end."""
        while not self._over.wait(self._seconds / 6):
            with self._lock:
                if not self._order({}):
                    self._replace()
                for renew in self._renewals:
                    try:
                        renew()
                    except OSError as failed:  # the fault is gone; the dose check will tell
                        log.warning("could not renew a fault: %s", failed)

    def _order(self, order: Mapping[str, Any]) -> bool:
        """Send one order; False if the janitor is gone."""
        assert self._janitor.stdin is not None
        try:
            self._janitor.stdin.write(json.dumps(order).encode() + b"\n")
            self._janitor.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def _answered(self) -> bool:
        """Tell whether the janitor confirms in time that it holds an undo."""
        assert self._janitor.stdout is not None
        ready, _, _ = select.select([self._janitor.stdout], [], [], START_WITHIN)
        return bool(ready) and self._janitor.stdout.readline() == b"held\n"

    def _replace(self) -> None:
        """Start another janitor in place of one that is gone, and hand everything over again."""
        code = self._janitor.wait()
        self._close()
        if code in (janitor.EXPIRED, janitor.REMAINS):
            self.is_expired = True
            log.warning("the janitor of run %s took its faults back: this process was silent", self._entry.run)
        else:
            log.warning("the janitor of run %s ended with %d; starting another", self._entry.run, code)
        self._janitor = self._start()
        for undo in self._entry.undos:
            if not (self._order({"hold": to_document(undo)}) and self._answered()):
                raise FaultFailed(type(undo).__name__, "the janitor does not answer")

    def _end(self) -> None:
        """Let the janitor go and collect it; one that still has something to take back goes on by itself."""
        self._close()
        if self._entry.undos:
            self._janitor.returncode = janitor.REMAINS  # nobody waits for it here
        else:
            self._janitor.wait()

    def _close(self) -> None:
        for pipe in (self._janitor.stdin, self._janitor.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # a sign of life that nobody read
                    log.debug("the janitor was gone already")
