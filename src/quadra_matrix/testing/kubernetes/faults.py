"""What goes wrong on purpose: refused, slow and lost answers of the server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatch

from quadra_matrix.errors import require
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.requests import Target

REASONS = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request in place of, before or after doing it."""

    code: int | None = None
    """Status that is answered in place of doing the request: 500, 409, 503 ..."""
    delay: float = 0.0
    """Real seconds before the request is done."""
    cut: str = ""
    """``before``: the connection ends and nothing is done. ``after``: it is done, and its answer is lost."""

    def __post_init__(self) -> None:
        require(self.cut in {"", "before", "after"}, "cut", self.cut, "before, after or empty")

    def refusal(self) -> Refused | None:
        """Return what to answer in place of doing the request."""
        if self.code is None:
            return None
        return Refused(
            self.code, REASONS.get(self.code, "ServiceUnavailable"), f"the fake was told to answer {self.code}"
        )


@dataclass
class _Armed:
    fault: Fault
    verb: str
    resource: str
    name: str
    left: float


@dataclass
class Faults:
    """The faults that wait for their requests. May be shared between threads."""

    _armed: list[_Armed] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault, *, verb: str = "*", resource: str = "*", name: str = "*", times: float = 1) -> None:
        """Let a fault meet the next ``times`` requests (infinity: all) with this verb, resource and name.

        The three are patterns, such as ``patch``, ``deployments/scale`` and ``shop-*``.
        """
        with self._lock:
            self._armed.append(_Armed(fault, verb, resource, name, times))

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._armed.clear()

    def meet(self, target: Target) -> Fault:
        """Return what goes wrong with a request; an empty fault for nothing."""
        with self._lock:
            for armed in self._armed:
                patterns = ((target.verb, armed.verb), (target.resource, armed.resource), (target.name, armed.name))
                if all(fnmatch(value, pattern) for value, pattern in patterns):
                    armed.left -= 1
                    if armed.left <= 0:
                        self._armed.remove(armed)
                    return armed.fault
        return Fault()
