"""The head of an HTTP/1 request: what a front lets through, and how its body is framed. Pure.

A front and the server behind it must never disagree about where a request ends. So what RFC 9112 lets a recipient
repair is refused here: what is passed on has one reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from quadra_matrix.errors import NotPassedOn

MOST_FIELDS = 96
"""hyper, behind us, takes 100 and answers 431 on its own above that."""

CHUNKED = -1
"""The length of a body that comes in chunks."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD = rb"(?:" + _TOKEN + rb"++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)"
# What hyper's parser of addresses takes. A browser escapes everything else.
_TARGET = rb"(?:https?://[0-9A-Za-z.:\[\]-]++)?/[!$-;=@-Z_a-z|~\"{}\[\]]*+(?:\?[!$-;=?-~]*+)?|\*"
_HEAD = re.compile(
    rb"(?P<start>(?P<method>" + _TOKEN + rb"++) (?:" + _TARGET + rb") HTTP/1\.(?P<minor>[01])\r\n)"
    rb"(?P<fields>" + _FIELD + rb"*+)\r\n"
)
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):[ \t]*+([^\r]*)\r\n", re.IGNORECASE | re.MULTILINE)
_UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request that may be passed on."""

    start: bytes
    """The request line with its end."""
    fields: bytes
    """Every field with its end."""
    length: int
    """Bytes of the body, or ``CHUNKED``."""

    @property
    def asks_to_upgrade(self) -> bool:
        """Tell whether the client wants to speak another protocol, as WebSockets do."""
        return _UPGRADE.search(self.fields) is not None


def read_head(text: bytes) -> Head:
    """Return the head that ``text`` is, up to and with its empty line. Raises ``NotPassedOn``."""
    found = _HEAD.fullmatch(text)
    if found is None:
        raise NotPassedOn(400, "the request is malformed")
    if found["method"] == b"CONNECT":
        raise NotPassedOn(405, "this is no proxy")
    fields = found["fields"]
    if fields.count(b"\n") > MOST_FIELDS:
        raise NotPassedOn(431, f"a request may have {MOST_FIELDS} header fields")
    return Head(found["start"], fields, _length(_FRAMING.findall(fields), found["minor"]))


def _length(framing: list[tuple[bytes, bytes]], minor: bytes) -> int:
    """Return how long the body is; what two servers could read in two ways is refused."""
    if not framing:
        return 0
    if len(framing) > 1:
        raise NotPassedOn(400, "the request says more than once how long it is")
    name, value = framing[0][0].lower(), framing[0][1].rstrip(b" \t")
    if name == b"content-length":
        if not _LENGTH.fullmatch(value):
            raise NotPassedOn(400, "Content-Length is no number of bytes")
        return int(value)
    if value.lower() != b"chunked" or minor == b"0":
        raise NotPassedOn(501, "the only transfer coding here is chunked, in HTTP/1.1")
    return CHUNKED


def read_chunk_size(line: bytes) -> int:
    """Return the size that the first line of a chunk states. Raises ``NotPassedOn``."""
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise NotPassedOn(400, "a chunk is malformed")
    return int(found[1], 16)


def named(name: str) -> re.Pattern[bytes]:
    """Return the pattern of every field that an application would take for ``name``.

    WSGI writes a hyphen as an underscore, so a client may spell a name in several ways.
    """
    spelt = "[-_]".join(re.escape(part) for part in re.split("[-_]", name))
    return re.compile(rb"^%b:[^\r]*\r\n" % spelt.encode(), re.IGNORECASE | re.MULTILINE)
