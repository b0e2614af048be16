"""Breakers by name: the same name is the same breaker, made once under any race."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from quadra_matrix.breaker import fork
from quadra_matrix.errors import CircuitConflict, CircuitUnknown
from quadra_matrix.events import Hook

if TYPE_CHECKING:
    from quadra_matrix.breaker.guard import CircuitBreaker
    from quadra_matrix.breaker.options import BreakerOptions

B = TypeVar("B", bound="CircuitBreaker")


class Registry:
    """Breakers by name. May be shared between threads; holds what it is given until ``remove``."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[str, CircuitBreaker] = {}
        self.hooks: tuple[Hook, ...] = ()

    def claim(self, name: str, options: BreakerOptions, make: Callable[[], B], kind: type[B]) -> B:
        """Return the breaker called ``name``, made if there is none; other options raise ``CircuitConflict``."""
        with self._lock:
            held = self._held.get(name)
            if held is None:
                fork.remember(self)
                made = self._held[name] = make()
                return made
        if held.options != options or not isinstance(held, kind):
            raise CircuitConflict(name, str(held.options), str(options))
        return held

    def __getitem__(self, name: str) -> CircuitBreaker:
        """Return the breaker called ``name`` or raise ``CircuitUnknown``."""
        try:
            return self._held[name]
        except KeyError:
            raise CircuitUnknown(name) from None

    def __iter__(self) -> Iterator[CircuitBreaker]:
        """Yield the breakers in the order of their names."""
        with self._lock:
            held = sorted(self._held.items())
        return iter([breaker for _, breaker in held])

    def remove(self, name: str) -> None:
        """Forget the breaker called ``name``; who holds it may go on using it."""
        with self._lock:
            if self._held.pop(name, None) is None:
                raise CircuitUnknown(name)

    def listen(self, hook: Hook) -> None:
        """Pass every later event of every breaker in the registry to ``hook`` as well."""
        with self._lock:
            self.hooks = (*self.hooks, hook)

    def before_fork(self) -> None:
        """Wait until nobody changes the registry."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on; the child has its own copy of every breaker."""
        self._lock.release()


BREAKERS = Registry()
"""The registry that names refer to unless another is given."""
