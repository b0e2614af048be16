"""Which requests a front passes on, and where it thinks that they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import NotPassedOn
from quadra_matrix.tls.heads import CHUNKED, MOST_FIELDS, named, read_chunk_size, read_head


def head(*fields: str, start: str = "GET / HTTP/1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (start, *fields, "")).encode("latin-1")


@pytest.mark.parametrize(
    "start",
    [
        "GET / HTTP/1.1",
        "HEAD /a%20b/%C3%BC?q=a|b&c=%25 HTTP/1.0",
        "OPTIONS * HTTP/1.1",
        "GET http://shop.test:80/a?b HTTP/1.1",
        "M-SEARCH /~me/(a);b,c@d'!$&*+=:[] HTTP/1.1",
    ],
)
def test_a_request_line_is_passed_on(start: str) -> None:
    assert read_head(head("Host: a", start=start)).start == f"{start}\r\n".encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G\x01T / HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
def test_what_can_be_read_in_two_ways_is_refused(text: bytes) -> None:
    with pytest.raises(NotPassedOn) as refused:
        read_head(text)

    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["content-length:  12 "], 12),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["TRANSFER-ENCODING:\tChunked\t"], CHUNKED),
    ],
)
def test_a_body_has_one_length(fields: list[str], length: int) -> None:
    assert read_head(head(*fields)).length == length


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Length: 1", "Content-Length: 1"], 400),
        (["Content-Length: 1, 1"], 400),
        (["Content-Length: 1", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 400),
        (["Content-Length: +1"], 400),
        (["Content-Length: 0x1"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: 1 2"], 400),
        (["Content-Length: " + "9" * 19], 400),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: xchunked"], 501),
        (["Transfer-Encoding: chunked;a=b"], 501),
        (["Transfer-Encoding: identity"], 501),
    ],
    ids=repr,
)
def test_a_length_that_smuggles_is_refused(fields: list[str], status: int) -> None:
    with pytest.raises(NotPassedOn) as refused:
        read_head(head(*fields))

    assert refused.value.status == status


def test_chunks_are_for_http_1_1() -> None:
    with pytest.raises(NotPassedOn) as refused:
        read_head(head("Transfer-Encoding: chunked", start="POST / HTTP/1.0"))

    assert refused.value.status == 501


@pytest.mark.parametrize(
    ("field", "asks"),
    [("Upgrade: websocket", True), ("UPGRADE:h2c", True), ("X-Upgrade: a", False), ("A: Upgrade: b", False)],
)
def test_who_asks_to_upgrade_is_known(field: str, asks: bool) -> None:
    assert read_head(head("Host: a", field)).asks_to_upgrade is asks


def test_a_tunnel_is_refused() -> None:
    with pytest.raises(NotPassedOn) as refused:
        read_head(head(start="CONNECT * HTTP/1.1"))

    assert refused.value.status == 405


def test_the_number_of_fields_has_a_limit() -> None:
    assert read_head(head(*["A: b"] * MOST_FIELDS))
    with pytest.raises(NotPassedOn) as refused:
        read_head(head(*["A: b"] * (MOST_FIELDS + 1)))

    assert refused.value.status == 431


@pytest.mark.parametrize(("line", "size"), [(b"0\r\n", 0), (b"1aF\r\n", 0x1AF), (b"5;a=b\r\n", 5), (b"5 ; a\r\n", 5)])
def test_a_chunk_states_its_size(line: bytes, size: int) -> None:
    assert read_chunk_size(line) == size


@pytest.mark.parametrize(
    "line", [b"\r\n", b"g\r\n", b"-1\r\n", b"0x5\r\n", b" 5\r\n", b"5 \r\n", b"5\n", b"f" * 16 + b"\r\n"]
)
def test_a_chunk_with_another_size_is_refused(line: bytes) -> None:
    with pytest.raises(NotPassedOn, match="chunk"):
        read_chunk_size(line)


@pytest.mark.parametrize("name", ["X-Own-Name", "x-own-name", "X_Own_Name", "X-OWN_NAME"])
def test_a_field_is_found_however_it_is_spelt(name: str) -> None:
    fields = f"A: b\r\n{name}: forged\r\nX-Own-Names: c\r\nD: X-Own-Name: e\r\n".encode()

    assert named("X-Own-Name").sub(b"", fields) == b"A: b\r\nX-Own-Names: c\r\nD: X-Own-Name: e\r\n"


@given(st.binary(max_size=200))
def test_any_bytes_are_passed_on_as_they_are_or_refused(text: bytes) -> None:
    whole = b"GET / HTTP/1.1\r\n" + text + b"\r\n\r\n"
    try:
        found = read_head(whole)
    except NotPassedOn:
        return
    assert found.start + found.fields + b"\r\n" == whole
    # One blank line, at the end: nothing behind it is taken for a part of the head.
    assert whole.index(b"\r\n\r\n") == len(whole) - 4
