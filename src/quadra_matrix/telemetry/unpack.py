"""Compressed bodies from strangers: unpacked up to a bound, whatever they claim to be."""

from __future__ import annotations

import zlib

from quadra_matrix.errors import InvalidValue


class TooLarge(Exception):
    """A body is larger than its bound once it is unpacked."""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the body without its ``Content-Encoding``: gzip or none; at most ``limit`` bytes.

    Raises ``TooLarge`` before a bomb is large, and ``InvalidValue`` for what is not whole or not gzip.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise InvalidValue("Content-Encoding", encoding[:40], "gzip, or none")
    parts, room = [], limit
    while body:  # a gzip file may have several parts
        unpacking = zlib.decompressobj(wbits=31)
        try:
            part = unpacking.decompress(body, room + 1)
        except zlib.error as failed:
            raise InvalidValue("body", f"{len(body)} bytes", "gzip, as its Content-Encoding says") from failed
        if len(part) > room:
            raise TooLarge
        if not unpacking.eof:
            raise InvalidValue("body", f"{len(body)} bytes", "the whole of a gzip file")
        parts.append(part)
        room, body = room - len(part), unpacking.unused_data
    return b"".join(parts)
