"""What a finished call says about its dependency. Pure."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from quadra_matrix.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """The verdict on one call."""

    SUCCESS = enum.auto()
    FAILURE = enum.auto()
    NEITHER = enum.auto()
    """It says nothing: cancelled, interrupted, closed early or ignored."""


class FailureRules(Protocol):
    """The options that classify exceptions."""

    @property
    def failure_types(self) -> tuple[type[Exception], ...]: ...  # noqa: D102
    @property
    def ignored_types(self) -> tuple[type[Exception], ...]: ...  # noqa: D102
    @property
    def is_failure(self) -> Callable[[Exception], bool] | None: ...  # noqa: D102


def outcome_of(error: BaseException, rules: FailureRules) -> Outcome:
    """Classify an exception.

    What is not an ``Exception`` (``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit``, ``asyncio.CancelledError``)
    comes from the caller's side and is never a failure, and neither is a cancelled future.
    """
    if not isinstance(error, Exception) or isinstance(error, CancelledError):
        return Outcome.NEITHER
    if not isinstance(error, rules.failure_types) or isinstance(error, rules.ignored_types):
        return Outcome.NEITHER
    if rules.is_failure is not None and not is_true(rules.is_failure, error, if_it_raises=True):
        return Outcome.NEITHER
    return Outcome.FAILURE


def is_true(predicate: Callable[[Any], bool], value: object, *, if_it_raises: bool) -> bool:
    """Ask ``predicate``; one that raises is logged and must not replace what the call returned or raised."""
    try:
        return bool(predicate(value))
    except Exception:  # the edge of a hook: the caller of a call that ran gets that call's own result
        log.exception("a breaker's predicate failed on %s", type(value).__name__)
        return if_it_raises


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Read the seconds to wait from the ``Retry-After`` header of a response, or of the response of an exception.

    It finds ``headers`` on the value itself or on its ``response``, as requests, httpx and werkzeug have them.
    """

    clock: Clock = SYSTEM_CLOCK

    def __call__(self, answer: object) -> float | None:
        """Return the seconds, or None where there is no header or it cannot be read."""
        headers = getattr(answer, "headers", None) or getattr(getattr(answer, "response", None), "headers", None)
        told = headers.get("Retry-After") if headers is not None else None
        if told is None:
            return None
        try:
            return max(0.0, float(int(told)))
        except ValueError:
            return self._seconds_until(str(told))

    def _seconds_until(self, date: str) -> float | None:
        """Return the seconds until an HTTP date."""
        try:
            moment = parsedate_to_datetime(date)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - self.clock.now())
