"""How each fault is taken back: values that any process can store, read, carry out and check.

An undo may be carried out more than once and by somebody who knows nothing else. It imports nothing heavy: the janitor
holds it while the fault is in place.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from quadra_matrix.errors import InvalidValue
from quadra_matrix.pids import Process, is_stopped, lives, process_of

PATIENCE = 5.0
"""Seconds one attempt may take."""


class Undo(Protocol):
    """Takes one fault back. A frozen dataclass of JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def apply(self) -> None:
        """Take the fault back. Raises ``OSError`` or ``subprocess.SubprocessError`` when that failed."""

    def is_done(self) -> bool:
        """Read at the source whether the fault is gone."""

    def by_hand(self) -> str:
        """Return the command that a person would type."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a halted process go on."""

    pid: int
    born: int

    def apply(self) -> None:
        """Send SIGCONT to the process, if it is still the same."""
        if lives(Process(self.pid, self.born)):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    def is_done(self) -> bool:
        """Tell whether the process runs, or is gone."""
        return not is_stopped(Process(self.pid, self.born))

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f"kill -CONT {self.pid}"


@dataclass(frozen=True, slots=True)
class EndProcess:
    """End a process that exists only to do harm."""

    pid: int
    born: int

    def apply(self) -> None:
        """Kill the process, if it is still the same."""
        if lives(Process(self.pid, self.born)):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def is_done(self) -> bool:
        """Tell whether the process is gone."""
        return not lives(Process(self.pid, self.born))

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f"kill -KILL {self.pid}"


@dataclass(frozen=True, slots=True)
class SetOpenFiles:
    """Give a process its limit of open files back."""

    pid: int
    born: int
    soft: int
    hard: int

    def apply(self) -> None:
        """Set the limit, if the process is still the same."""
        if lives(Process(self.pid, self.born)):
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.soft, self.hard))

    def is_done(self) -> bool:
        """Read the limit back; a process that is gone has none."""
        if not lives(Process(self.pid, self.born)):
            return True
        with suppress(ProcessLookupError):
            return resource.prlimit(self.pid, resource.RLIMIT_NOFILE) == (self.soft, self.hard)
        return True

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f"prlimit --pid {self.pid} --nofile={self.soft}:{self.hard}"


@dataclass(frozen=True, slots=True)
class EndKeeper:
    """Have a forked process call the function that it keeps; it ends once that has returned."""

    pid: int
    born: int

    def apply(self) -> None:
        """Send SIGTERM to the keeper, if it is still the same."""
        if lives(Process(self.pid, self.born)):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def is_done(self) -> bool:
        """Tell whether the keeper is gone."""
        return not lives(Process(self.pid, self.born))

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f"kill -TERM {self.pid}, or call the function that ends the failure"


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Have something listen at an address again."""

    address: str
    """``host:port``."""
    words: Sequence[str] = ()
    """The command that starts it; empty: a supervisor does, and this waits for it."""
    folder: str = "."
    """Where the command runs."""
    mark: str = ""
    """File with the number of the process that was started, so that nobody starts two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))  # JSON makes a list of it

    def apply(self) -> None:
        """Start it, unless it listens or was started already and lives."""
        if not self.words or self.is_done() or self._is_starting():
            return
        with Path(f"{self.mark}.log").open("ab") as output:
            started = subprocess.Popen(  # noqa: S603  the command is the user's own
                list(self.words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        started.returncode = 0  # it is to outlive this process: nobody waits for it here
        found = process_of(started.pid)
        Path(self.mark).write_text(f"{started.pid} {found.born if found else 0}")

    def is_done(self) -> bool:
        """Tell whether connections are accepted."""
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
                return True
        except OSError:
            return False

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return " ".join(self.words) or f"start what listened at {self.address}"

    def _is_starting(self) -> bool:
        try:
            pid, born = Path(self.mark).read_text().split()
        except (OSError, ValueError):
            return False
        return lives(Process(int(pid), int(born)))


@dataclass(frozen=True, slots=True)
class LiftProxy:
    """Make a fault proxy transparent. One that is gone disturbs nobody."""

    control: str
    """Path of its control socket."""

    def apply(self) -> None:
        """Ask the proxy to lift what it does."""
        with suppress(FileNotFoundError, ConnectionRefusedError):
            ask(self.control, {"do": "lift"})

    def is_done(self) -> bool:
        """Ask the proxy whether it is transparent."""
        try:
            return bool(ask(self.control, {"do": "state"})["is_clear"])
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f'echo \'{{"do": "lift"}}\' | nc -U -q1 {self.control}'


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function that can be imported."""

    function: str
    """``module:name``."""
    arguments: Mapping[str, Any]
    check: str | None = None
    """A function of the same arguments that tells whether the fault is gone; None: that ``function`` returned."""

    def apply(self) -> None:
        """Import and call the function."""
        _imported(self.function)(**self.arguments)

    def is_done(self) -> bool:
        """Ask the check; without one the call itself is all there is."""
        return self.check is None or bool(_imported(self.check)(**self.arguments))

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        module, _, name = self.function.partition(":")
        return f'python -c "import {module}; {module}.{name}(**{json.dumps(dict(self.arguments))})"'


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program, and another one that succeeds once the fault is gone."""

    words: Sequence[str]
    check: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("words", "check"):  # JSON makes lists of them
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def apply(self) -> None:
        """Run the program."""
        subprocess.run(list(self.words), check=True, timeout=PATIENCE, capture_output=True)  # noqa: S603  our own words

    def is_done(self) -> bool:
        """Run the check."""
        if not self.check:
            return True
        ended = subprocess.run(list(self.check), check=False, timeout=PATIENCE, capture_output=True)  # noqa: S603
        return ended.returncode == 0

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a file that exists only to take room."""

    path: str

    def apply(self) -> None:
        """Remove the file."""
        Path(self.path).unlink(missing_ok=True)

    def is_done(self) -> bool:
        """Tell whether the file is gone."""
        return not Path(self.path).exists()

    def by_hand(self) -> str:
        """Return the command that a person would type."""
        return f"rm {self.path}"


KINDS: dict[str, type[Undo]] = {
    kind.__name__: kind
    for kind in (Resume, EndProcess, SetOpenFiles, EndKeeper, StartAgain, LiftProxy, Call, Command, RemoveFile)
}
"""Every undo by the name it has in the journal."""


def to_document(undo: Undo) -> dict[str, Any]:
    """Return an undo as JSON values."""
    return {"undo": type(undo).__name__, **asdict(undo)}


def from_document(document: Mapping[str, Any]) -> Undo:
    """Return the undo in a document. Raises ``InvalidValue`` for a kind that this version does not know."""
    facts = dict(document)
    kind = KINDS.get(str(facts.pop("undo", "")))
    if kind is None:
        raise InvalidValue("undo", document.get("undo"), f"one of {', '.join(sorted(KINDS))}")
    return kind(**facts)


def ask(control: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of a fault proxy to one order. Raises ``OSError``."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(control)
        line.sendall(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile("rb").readline() or b"{}")
        return answer


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
