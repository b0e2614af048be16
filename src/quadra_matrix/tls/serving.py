"""A context that serves what its files hold now, and never does a handshake in the accept loop.

Any server that calls ``wrap_socket`` or ``wrap_bio`` may hold it. A connection gets the newest context when it arrives
and does its handshake at its first read or write, which is on the worker that serves it, under a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import CertificateRefused, require
from quadra_matrix.events import Event, Hook
from quadra_matrix.events.tls import (
    CertificateSwapFailed,
    CertificateSwapped,
    ClientCertificateRefused,
    HandshakeFailed,
)
from quadra_matrix.tls.clients import ClientRefused, subject_and_serial
from quadra_matrix.tls.context import OUT_OF_TIME, ServerFiles, configure, inspect_files, server_context
from quadra_matrix.tls.handshake import LateSocket

log = logging.getLogger(__name__)

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Inode, time of change and size of each watched file."""


class ServingContext(ssl.SSLContext):
    """Serve the newest good certificate of ``files``. May be shared between threads and inherited by a fork.

    When a connection arrives, at most every ``check_every`` seconds, the files are looked at: one ``stat`` each. New
    ones are loaded into a fresh context, which new connections use; those that are open go on. A pair that cannot be
    used leaves the last good one serving. ``handshake_timeout`` is in seconds. Without a ``hook`` events are logged.
    """

    def __new__(
        cls,
        files: ServerFiles,
        *,
        handshake_timeout: float = 10.0,
        check_every: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook | None = None,
    ) -> ServingContext:
        """Make the context of a server; OpenSSL wants the protocol here."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(
        self,
        files: ServerFiles,
        *,
        handshake_timeout: float = 10.0,
        check_every: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook | None = None,
    ) -> None:
        require(handshake_timeout > 0, "handshake_timeout", handshake_timeout, "above 0 seconds")
        require(check_every >= 0, "check_every", check_every, "0 seconds or more")
        self._files, self._clock, self._hook = files, clock, hook or in_words
        self._handshake_timeout, self._check_every = handshake_timeout, check_every
        self._checking = threading.Lock()
        self._seen = self._suspect = self._stamp()
        self._next_check = clock.monotonic() + check_every
        found = inspect_files(files, now=clock.now())
        for each in found.faults:
            # Refusing to start would take the service down for good; its clients already see what is wrong.
            log.warning("%s is served all the same: %s", files.certificate, each.detail)
        self._serving = self._fresh()
        configure(self, files)  # for servers that look at the options of the context they were given

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Wrap a listening socket, which then accepts at once, or a connection, which does its handshake later."""
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return super().wrap_socket(sock, server_side, False, suppress_ragged_eofs, server_hostname, session)
        peer = _peer_of(sock)
        late = self.current().wrap_socket(sock, server_side, False, suppress_ragged_eofs, server_hostname, session)
        with contextlib.suppress(OSError):  # a resumed handshake of TLS 1.2 would wait 40 ms for a delayed ACK
            late.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(late, LateSocket):
            late.defer_handshake(self._handshake_timeout, lambda failed: self.report(peer, failed))
        return late

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Wrap a connection of an event loop, which does and limits the handshake itself."""
        return self.current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def current(self) -> ssl.SSLContext:
        """Return the context of the newest good files."""
        events: list[Event] = []
        if self._clock.monotonic() >= self._next_check and self._checking.acquire(blocking=False):
            try:
                self._check(events.append)
            finally:
                self._checking.release()
        for event in events:
            self._hook(event)
        return self._serving

    def _check(self, announce: Callable[[Event], None]) -> None:
        self._next_check = self._clock.monotonic() + self._check_every
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            found = inspect_files(self._files, now=self._clock.now())
            for each in found.faults:
                if each.fault in OUT_OF_TIME:
                    raise CertificateRefused(self._files.certificate, each.detail)
            self._serving = self._fresh()
        except CertificateRefused as refused:
            # Two files are not written at the same instant: only what is still bad at the next look is bad.
            if stamp == self._suspect:
                self._seen = stamp
                announce(CertificateSwapFailed(str(self._files.certificate), refused.reason))
            self._suspect = stamp
            return
        self._seen = self._suspect = stamp
        announce(CertificateSwapped(str(self._files.certificate), found.serial, found.expires))

    def _fresh(self) -> ssl.SSLContext:
        context = server_context(self._files)
        context.sslsocket_class = LateSocket
        return context

    def _stamp(self) -> Stamp:
        return tuple(_stamp_of(path) for path in self._files.watched)

    def report(self, peer: str, failed: OSError) -> None:
        """Announce a handshake that failed."""
        reason = reason_of(failed)
        if isinstance(failed, ClientRefused):
            self._hook(ClientCertificateRefused(peer, reason, *subject_and_serial(failed.certificate)))
        else:
            self._hook(HandshakeFailed(peer, reason))


def in_words(event: Event) -> None:
    """Log what a context announces: the default hook.

    Anybody can fail a handshake as often as he likes, so that alone is no more than a detail.
    """
    match event:
        case CertificateSwapped(certificate, serial):
            log.info("%s is served from now on, serial %s", certificate, serial)
        case CertificateSwapFailed(certificate, reason):
            log.error("%s stays as it was, the last good certificate goes on serving: %s", certificate, reason)
        case ClientCertificateRefused(peer, fault, subject, serial):
            log.warning("%s was refused, its certificate %s is for %s: %s", peer, serial, subject, fault)
        case HandshakeFailed(peer, reason):
            log.debug("the handshake with %s failed: %s", peer, reason)


def reason_of(failed: OSError) -> str:
    """Return why a handshake failed, in words of which there are few enough to count by."""
    if isinstance(failed, TimeoutError):
        return "not done in time"
    if isinstance(failed, ClientRefused):
        return failed.words
    if isinstance(failed, ssl.SSLEOFError | ConnectionError):
        return "connection lost"
    if isinstance(failed, ssl.SSLError) and failed.reason:
        return failed.reason.lower().replace("_", " ")
    return "other"


def _peer_of(sock: socket.socket) -> str:
    """Return the peer's address and port as text."""
    try:
        peer = sock.getpeername()
    except OSError:  # it is gone already
        return "a client that left"
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a local socket"


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file is written or replaced; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
