"""Where requests begin and end in what a client sends. Pure: bytes in, pieces out, every byte in exactly one piece."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_HEAD = 65536
"""Bytes of a request's head; what is longer is passed on as it comes."""
METHOD = re.compile(rb"[A-Z][A-Z-]{1,19} ")
"""How an HTTP/1 request begins. A TLS handshake begins with 0x16, Redis with ``*``, PostgreSQL with a length."""
PREFACE = b"PRI * HTTP/2.0"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to pass on together."""

    content: bytes
    is_start: bool = False
    """Whether a request begins here; its head is whole."""
    is_end: bool = False
    """Whether the request ends here."""


class Requests:
    """Splits one connection's bytes into pieces of requests. What is no HTTP/1 is one request after another turn."""

    def __init__(self) -> None:
        self._text = b""
        self._body = 0
        """Bytes of the body, or of the chunk, that are still to come."""
        self._is_chunked = False
        self.is_raw = False
        """Whether bytes pass unread from now on: TLS, another protocol, or a connection that was upgraded."""

    def feed(self, content: bytes) -> Iterator[Piece]:
        """Take what arrived and yield what can be passed on."""
        self._text += content
        while self._text:
            piece = self._next()
            if piece is None:
                return
            yield piece

    def _next(self) -> Piece | None:
        if self.is_raw:
            return self._take(len(self._text))
        if self._body:
            return self._rest_of_body()
        if self._is_chunked:
            return self._next_chunk()
        return self._head()

    def _take(self, length: int, *, is_start: bool = False, is_end: bool = False) -> Piece:
        content, self._text = self._text[:length], self._text[length:]
        return Piece(content, is_start, is_end)

    def _head(self) -> Piece | None:
        """Return a whole head, or make the connection raw when this is none."""
        first = self._text[:20]
        is_short = len(self._text) < 20 and b" " not in first
        if not METHOD.match(first) and not (is_short and re.fullmatch(rb"[A-Z-]+", first)):
            return self._raw()
        end = self._text.find(b"\r\n\r\n")
        if end < 0:
            return self._raw() if len(self._text) > LONGEST_HEAD else None
        head = self._text[: end + 4]
        fields = _fields(head)
        if head.startswith((b"CONNECT ", PREFACE)) or b"upgrade" in fields.get(b"connection", b"").lower():
            self.is_raw = True
            return self._take(end + 4, is_start=True, is_end=True)
        self._is_chunked = fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        length = fields.get(b"content-length", b"0")
        if not length.isdigit():
            return self._raw()
        self._body = 0 if self._is_chunked else int(length)
        return self._take(end + 4, is_start=True, is_end=not (self._body or self._is_chunked))

    def _raw(self) -> Piece:
        self.is_raw = True
        return self._take(len(self._text), is_start=True, is_end=True)

    def _rest_of_body(self) -> Piece:
        piece = self._take(min(self._body, len(self._text)))
        self._body -= len(piece.content)
        return Piece(piece.content, is_end=not (self._body or self._is_chunked))

    def _next_chunk(self) -> Piece | None:
        """Return a chunk's size line, and know how much follows it."""
        end = self._text.find(b"\r\n")
        if end < 0:
            return None
        size = self._text[:end].split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            return self._raw()
        if int(size, 16):
            self._body = int(size, 16) + 2  # and the line end behind it
            return self._take(end + 2)
        last = self._text.find(b"\r\n\r\n", end)
        if last < 0:
            return None  # trailers are on their way
        self._is_chunked = False
        return self._take(last + 4, is_end=True)


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a head by lower-case name; of two of a name the last."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}
