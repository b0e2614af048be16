"""Requests are found wherever the network cuts them, and what is no HTTP is left alone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.chaos.proxy.http1 import LONGEST_HEAD, Piece, Requests

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"3;name=value\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"
)
EMPTY_CHUNKED = b"PUT /d HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"


def pieces(parts: Iterable[bytes]) -> list[Piece]:
    requests = Requests()
    return [piece for part in parts for piece in requests.feed(part)]


@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED, EMPTY_CHUNKED]), min_size=1, max_size=6),
    st.lists(st.integers(1, 60), max_size=40),
)
def test_requests_are_found_wherever_they_are_cut(requests: list[bytes], cuts: list[int]) -> None:
    text, parts = b"".join(requests), []
    rest = text
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]

    found = pieces([*parts, rest])

    assert b"".join(piece.content for piece in found) == text
    assert sum(piece.is_start for piece in found) == len(requests)
    assert sum(piece.is_end for piece in found) == len(requests)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10))
def test_no_byte_is_lost_whatever_arrives(parts: list[bytes]) -> None:
    requests = Requests()
    found = b"".join(piece.content for part in parts for piece in requests.feed(part))

    assert b"".join(parts).startswith(found)
    assert not requests.is_raw or found == b"".join(parts)


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT host:443 HTTP/1.1\r\n\r\n",
        UPGRADE,
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x" * LONGEST_HEAD,
        b"NOTHINGLIKEAREQUESTATALL",
    ],
    ids=["tls", "redis", "postgres", "h2", "connect", "websocket", "bad length", "long head", "no request"],
)
def test_the_rest_of_another_protocol_passes_unread(text: bytes) -> None:
    requests = Requests()

    found = [*requests.feed(text), *requests.feed(GET)]

    assert requests.is_raw
    assert b"".join(piece.content for piece in found) == text + GET
    assert found[0].is_start


def test_a_broken_chunk_makes_the_rest_pass_unread() -> None:
    requests = Requests()

    found = list(requests.feed(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))

    assert requests.is_raw
    assert b"".join(piece.content for piece in found).endswith(b"zz\r\n")


def test_a_head_waits_until_it_is_whole() -> None:
    requests = Requests()

    assert not list(requests.feed(GET[:2]))
    assert not list(requests.feed(GET[2:-1]))
    assert [piece.content for piece in requests.feed(GET[-1:])] == [GET]
