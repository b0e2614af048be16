"""A TLS connection that does its handshake when it is first used, under a deadline."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from quadra_matrix.tls.clients import refusal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

Refused = Callable[[OSError], None]
"""Hears why a handshake failed."""


class LateSocket(ssl.SSLSocket):
    """The accepted side of a connection. The thread that first reads or writes does the handshake.

    A connection whose handshake failed never yields a byte: what a client sent in the clear stays unread. A socket that
    does not block is left to its event loop, which has a deadline of its own.
    """

    _deadline: float | None = None
    _failure: OSError | None = None
    presented: bytes | None = None
    """The certificate of the client, in DER, verified or not; None while it presented none."""
    _refused: Refused

    def defer_handshake(self, deadline: float, refused: Refused) -> None:
        """Allow the handshake ``deadline`` seconds, all of its messages together; tell ``refused`` of a failure."""
        self._deadline, self._refused = deadline, refused

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read, after the handshake."""
        self._ready()
        return super().recv(buflen, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Read into ``buffer``, after the handshake."""
        self._ready()
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Write, after the handshake."""
        self._ready()
        return super().send(data, flags)

    def _ready(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._deadline is None or self.gettimeout() == 0:
            return
        deadline, self._deadline = self._deadline, None
        before = self.gettimeout()
        self.settimeout(deadline if before is None else min(deadline, before))
        try:
            self.do_handshake()
        except OSError as failed:  # ssl.SSLError and TimeoutError are of this type
            self._failure = refusal(failed, self.presented) if isinstance(failed, ssl.SSLError) else failed
            self._refused(self._failure)
            raise self._failure from failed
        finally:
            with contextlib.suppress(OSError):  # the server may have closed the connection meanwhile
                self.settimeout(before)
