"""Whether a request comes from this machine."""

from __future__ import annotations

import pytest

from quadra_matrix.loopback import is_local


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]", "[::1]:5000"])
def test_a_request_of_this_machine_is_local(host: str) -> None:
    assert is_local("127.0.0.1", host, {"Accept"})


@pytest.mark.parametrize(
    ("address", "host", "header"),
    [
        ("192.0.2.7", "localhost", "Accept"),
        ("127.0.0.1", "evil.example", "Accept"),
        ("127.0.0.1", "localhost", "X-Forwarded-For"),
        ("", "localhost", "Accept"),
    ],
    ids=["another machine", "another name", "a proxy", "no address"],
)
def test_any_other_request_is_not(address: str, host: str, header: str) -> None:
    assert not is_local(address, host, {header})
