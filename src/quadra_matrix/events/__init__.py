"""What features announce (frozen values), and the hook they announce it to.

A feature takes ``hook: Hook = ignore`` and calls it with a value of its module here, outside its locks. It never knows
who listens. Each feature's values are a module of their own, so that importing one feature costs nothing of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything that is announced. Names are past tense: something happened."""


Hook = Callable[[Event], None]
"""Receives every event of a feature, in order, on the thread where it happened. It should return at once."""


def ignore(event: Event) -> None:
    """Drop the event: the default hook."""


def fan_out(*hooks: Hook) -> Hook:
    """Return a hook that passes each event to all ``hooks``; one that raises is logged and harms nobody."""

    def announce(event: Event) -> None:
        for hook in hooks:
            try:
                hook(event)
            except Exception:  # the edge of a hook: a listener must never break the feature it watches
                log.exception("a listener failed on %s", type(event).__name__)

    return announce
