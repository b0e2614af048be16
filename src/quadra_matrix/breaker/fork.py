"""Breakers and registries survive ``os.fork`` (a preloading server): locks are taken before, released after."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forks(Protocol):
    """What must be whole when the process is copied."""

    def before_fork(self) -> None:
        """Take the lock."""

    def after_fork_in_parent(self) -> None:
        """Release the lock."""

    def after_fork_in_child(self) -> None:
        """Drop what belongs to the parent's threads and release the lock."""


_known: dict[int, weakref.ref[Forks]] = {}
"""In order of creation: a registry comes before its breakers, as it does where both locks are taken."""

_held: list[Forks] = []
"""What ``_before`` locked, for the two that follow it."""

_registered = False


def remember(thing: Forks) -> None:
    """Take part in every fork for as long as ``thing`` lives."""
    global _registered  # hooks of os.register_at_fork cannot be removed, so they are set once
    key = id(thing)
    _known[key] = weakref.ref(thing, lambda _: _known.pop(key, None))
    if not _registered:
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    """Lock everything that is alive."""
    _held[:] = [thing for known in list(_known.values()) if (thing := known()) is not None]
    for thing in _held:
        thing.before_fork()


def _after_in_parent() -> None:
    """Release in the reverse order."""
    while _held:
        _held.pop().after_fork_in_parent()


def _after_in_child() -> None:
    """Release in the reverse order, as the child's only thread."""
    while _held:
        _held.pop().after_fork_in_child()
