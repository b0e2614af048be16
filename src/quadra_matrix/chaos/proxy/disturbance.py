"""What a fault proxy does to the requests that pass it. Pure: chance comes in as a number generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from quadra_matrix.errors import require


class Down(StrEnum):
    """How a dependency is away."""

    NO = "no"
    RESET = "reset"
    """Connections are reset, open ones and new ones."""
    HANG = "hang"
    """Connections are accepted and nothing is ever answered."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Everything a proxy can do at once; the default does nothing."""

    latency: float = 0.0
    """Seconds every answer is held back."""
    jitter: float = 0.0
    """Seconds more or less, evenly spread; drawn once a request."""
    share: float = 1.0
    """Share of requests that are held back."""
    errors: float = 0.0
    """Share of HTTP requests answered with ``status`` in the target's place."""
    status: int = 503
    aborts: float = 0.0
    """Share of requests whose connection is closed in place of an answer."""
    resets: float = 0.0
    """Share of requests whose connection is reset in place of an answer."""
    bandwidth: float | None = None
    """Bytes a second, for each connection and direction."""
    down: Down = Down.NO

    def __post_init__(self) -> None:
        require(0 <= self.latency <= 300, "latency", self.latency, "from 0 to 300 seconds")
        require(0 <= self.jitter <= self.latency, "jitter", self.jitter, "from 0 to latency")
        for name in ("share", "errors", "aborts", "resets"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        chosen = self.errors + self.aborts + self.resets
        require(chosen <= 1, "errors + aborts + resets", chosen, "at most 1")
        require(400 <= self.status <= 599, "status", self.status, "from 400 to 599")
        require(self.bandwidth is None or self.bandwidth > 0, "bandwidth", self.bandwidth, "above 0")

    @property
    def is_clear(self) -> bool:
        """Tell whether nothing is disturbed."""
        chosen = self.errors + self.aborts + self.resets
        return self.latency * self.share + chosen == 0 and self.bandwidth is None and self.down is Down.NO


CLEAR = Disturbance()


class Answer(StrEnum):
    """Who answers a request."""

    TARGET = "target"
    ERROR = "error"
    ABORT = "abort"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request."""

    answer: Answer = Answer.TARGET
    delay: float = 0.0
    """Seconds its answer is held back."""
    status: int = 503
    """Of an error."""


class Fates:
    """The fate of each request, in order. Two with the same chance and disturbance deal the same."""

    def __init__(self, disturbance: Disturbance, chance: Callable[[], float]) -> None:
        self.disturbance = disturbance
        self._chance = chance

    def next(self) -> Fate:
        """Return the next request's fate. Always draws three numbers, so that options do not shift the sequence."""
        chosen, held, jitter = self._chance(), self._chance(), self._chance()
        asked = self.disturbance
        delay = asked.latency + (2 * jitter - 1) * asked.jitter if held < asked.share else 0.0
        for answer, part in ((Answer.ABORT, asked.aborts), (Answer.RESET, asked.resets), (Answer.ERROR, asked.errors)):
            if chosen < part:
                return Fate(answer, delay, asked.status)
            chosen -= part
        return Fate(delay=delay)
