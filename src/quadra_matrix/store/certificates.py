"""What the hosts that serve one name share about its certificate."""

from __future__ import annotations

from typing import Protocol


class CertificateStore(Protocol):
    """Small entries by name, and one leader at a time. Every method may be repeated safely, by any process."""

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the lease of ``name``; False while another holder has it."""

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, if ``holder`` has it."""

    def read(self, name: str) -> bytes | None:
        """Return an entry, or None if there is none or its time is over."""

    def write(self, name: str, content: bytes | None, *, until: float | None = None) -> None:
        """Replace an entry whole, or remove it with None; after ``until``, seconds since the epoch, it is gone."""
